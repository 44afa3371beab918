"""Somebody else's data module, with its loaders made anew by ours."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Unpack

from torch.utils.data import DataLoader

from chirpid.errors import ConfigError
from chirpid.loading.universal.handing import TRAIN, HandingModule, entry
from chirpid.loading.universal.passes import Passes
from chirpid.loading.universal.settings import LoaderSettings
from chirpid.loading.universal.torch_loaders import anew, why_not

ASIDE = (
    "on_before_batch_transfer",
    "transfer_batch_to_device",
    "on_after_batch_transfer",
    "predict_dataloader",
    "_hparams_name",
    "CHECKPOINT_HYPER_PARAMS_KEY",
    "CHECKPOINT_HYPER_PARAMS_NAME",
    "CHECKPOINT_HYPER_PARAMS_TYPE",
)
"""What Lightning looks for in a module, and has nothing to do with our loaders."""


class AdoptedDataModule(HandingModule):
    """The loaders of another module, made anew by `make_loader`; Lightning takes it as well.

    Dataset, batch size, `drop_last` and `collate_fn` stay. What torch shuffles is shuffled, by our
    seed; what it does not comes in the same batches. A sampler of one's own is asked for its
    batches once an epoch. Who fetches, with how many workers, is planned anew. What cannot be taken
    over is handed out as it is, or named in one line.

    Args:
        module: has `train_dataloader` and `val_dataloader`, which return torch's DataLoaders, or
            lists or dicts of them; `prepare_data` and `setup` are called before, if it has them.
        seed: decides the order, and what samples draw.
        **settings: of `make_loader`.

    Raises:
        ConfigError: module has no such methods.
    """

    def __init__(self, module: Any, *, seed: int = 0, **settings: Unpack[LoaderSettings]) -> None:
        super().__init__()
        if not callable(getattr(module, "train_dataloader", None)):
            raise ConfigError(
                f"{type(module).__name__} has no train_dataloader(). Give a data module, or "
                "datasets to UniversalDataModule itself."
            )
        self.module, self.seed, self.settings = module, seed, settings
        self.prepare_data_per_node = getattr(module, "prepare_data_per_node", True)
        self._is_set_up = False

    def __getattr__(self, name: str) -> Any:
        # Lightning takes hooks that are there for overridden, so these are there if theirs are.
        if name in ASIDE and "module" in self.__dict__:
            return getattr(self.module, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def hparams(self) -> Any:
        """What the module says about itself."""
        return getattr(self.module, "hparams", {})

    @property
    def hparams_initial(self) -> Any:
        """What the module said about itself when it was made."""
        return getattr(self.module, "hparams_initial", {})

    def on_exception(self, exception: BaseException) -> None:
        """Tell the module."""
        _call(self.module, "on_exception", exception)

    def prepare_data(self) -> None:
        """Have the module fetch what it needs."""
        _call(self.module, "prepare_data")

    def setup(self, stage: str | None = None) -> None:
        """Have the module make its datasets."""
        super().setup(stage)
        if self.trainer is not None:
            self.module.trainer = self.trainer
        _call(self.module, "setup", stage)
        self._is_set_up = True

    def teardown(self, stage: str | None = None) -> None:
        """Close all loaders, and have the module release what it holds."""
        super().teardown(stage)
        _call(self.module, "teardown", stage)

    def train_dataloader(self) -> Any:
        """Return the loader to train by, or a list or dict of them, as the module does."""
        return self._anew("train")

    def val_dataloader(self) -> Any:
        """Return the loader to validate by, or a list or dict of them, as the module does."""
        return self._anew("val")

    def test_dataloader(self) -> Any:
        """Return the loader to test by, or a list or dict of them, as the module does."""
        return self._anew("test")

    def _anew(self, role: str) -> Any:
        theirs = getattr(self.module, f"{role}_dataloader", None)
        if theirs is None:
            return []
        if not self._is_set_up:  # no trainer did
            self.prepare_data()
            self.setup("test" if role == "test" else None)
        return self._each(theirs(), role, trains=role == "train")

    def _each(self, theirs: Any, name: str, *, trains: bool, alone: bool = True) -> Any:
        """Return loaders made anew, in the structure that theirs have."""
        if isinstance(theirs, Mapping):
            return {
                key: self._each(value, f"{name}[{key!r}]", trains=trains, alone=False)
                for key, value in theirs.items()
            }
        if isinstance(theirs, list | tuple):
            return [
                self._each(value, f"{name}[{number}]", trains=trains, alone=False)
                for number, value in enumerate(theirs)
            ]
        if problem := why_not(theirs):
            self._say(f"{name}: {problem}, so it is handed out as it is.")
            return theirs

        def make() -> Passes:
            return Passes(self._loader_of(theirs, name), is_fixed=not trains)

        if trains:
            return self._training(name, make, alone=alone)
        return self._kept(name, make)

    def _loader_of(self, theirs: DataLoader[Any], name: str) -> Any:
        if theirs.worker_init_fn is not None:
            self._say(
                f"{name}: worker_init_fn is left out. What samples draw is seeded by sample; other "
                "work belongs in the dataset."
            )
        return anew(theirs, self.seed, self._say, trains=name.startswith(TRAIN), **self.settings)

    def _say(self, line: str) -> None:
        (self.settings.get("say") or logging.getLogger("chirpid").warning)(line)

    def state_dict(self) -> dict[str, Any]:
        """Return the seed, where training goes on, and the state of the module itself."""
        theirs = _call(self.module, "state_dict")
        return {"seed": self.seed, "positions": self._positions(), "module": theirs or {}}

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Have training go on where a state was taken.

        Raises:
            ConfigError: the state is of another seed, or none of a module.
        """
        if entry(state, "seed") != self.seed:
            raise ConfigError(
                f"The state is of seed {state['seed']}, not of {self.seed}. Use that seed."
            )
        if state.get("module"):
            _call(self.module, "load_state_dict", state["module"])
        self._begin_at(entry(state, "positions"))


def _call(module: Any, name: str, *values: Any) -> Any:
    method = getattr(module, name, None)
    return method(*values) if callable(method) else None
