"""What Lightning's Trainer asks of a data module, for one that does not import Lightning."""

from __future__ import annotations

import functools
import sys
from typing import Any, Self

PACKAGES = ("lightning.pytorch", "pytorch_lightning")


class Attachable:
    """An object that Lightning takes for a `LightningDataModule`, if it is there to ask.

    The Trainer looks by `isinstance`, which asks an object for its `__class__` too. Ours answers
    with a class that is Lightning's besides, as soon as Lightning has been imported by somebody; so
    nobody needs Lightning to use a module, and modules made before it was imported work as well.
    """

    prepare_data_per_node: bool = True
    allow_zero_length_dataloader_with_multiple_devices: bool = False
    trainer: Any = None
    """The Trainer of Lightning that the module was given to."""

    @property
    def hparams(self) -> dict[str, Any]:
        """Nothing to log by itself."""
        return {}

    @property
    def hparams_initial(self) -> dict[str, Any]:
        """Nothing to log by itself."""
        return {}

    def prepare_data(self) -> None:
        """Nothing to download."""

    def setup(self, stage: str | None = None) -> None:
        """Nothing is made before it is asked for."""

    def teardown(self, stage: str | None = None) -> None:
        """Nothing to release."""

    def on_exception(self, exception: BaseException) -> None:
        """Nothing to release."""

    @property  # type: ignore[misc]  # nobody is to set it
    def __class__(self) -> type[Self]:
        kind: Any = type(self)
        found: type[Self] = _with_lightning(kind, _modules_of_lightning())
        return found

    def __reduce__(self) -> Any:
        # pickle refuses an object whose class is not the one that it says.
        return _empty, (type(self),), self.__getstate__()


def _empty(kind: type[Attachable]) -> Attachable:
    return kind.__new__(kind)


def _modules_of_lightning() -> tuple[type, ...]:
    """Return the classes of data modules of the Lightnings that were imported so far."""
    found = [getattr(sys.modules.get(name), "LightningDataModule", None) for name in PACKAGES]
    return tuple(dict.fromkeys(kind for kind in found if isinstance(kind, type)))


@functools.cache
def _with_lightning(kind: Any, theirs: tuple[type, ...]) -> Any:
    if not theirs:
        return kind
    named = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    return type(kind.__name__, (kind, *theirs), named)
