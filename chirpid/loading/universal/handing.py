"""What data modules have in common: loaders made once, positions kept, Lightning's hooks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, Self, runtime_checkable

from chirpid.errors import ConfigError
from chirpid.loading.universal.lightning_class import Attachable
from chirpid.loading.universal.passes import Passes, Progress

State = dict[str, Any]
TRAIN = "train"
"""The names of loaders to train by begin so."""


@runtime_checkable
class DataModule(Protocol):
    """What gives loaders to train and to validate by, and can be saved in a checkpoint.

    Lightning's data modules are some, and so is any object with these methods.
    """

    def train_dataloader(self) -> Any:
        """Return a loader, or a list or dict of them."""

    def val_dataloader(self) -> Any:
        """Return a loader, or a list or dict of them."""

    def state_dict(self) -> dict[str, Any]:
        """Return where training goes on."""

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Have training go on where a state was taken."""


class HandingModule(Attachable):
    """A module that hands out `Passes` by name, and knows how far training is.

    The loader of a name is made once, so that iterating over it again is the next epoch. Lightning
    says itself in which epoch it is, so that a fit begins with its first whatever was done before.
    """

    def __init__(self) -> None:
        self._made: dict[str, Passes] = {}
        self._last: dict[str, State] = {}
        """Where each loader to train by was when it was closed."""
        self._resume: dict[str, State] = {}
        """Where the next ones begin."""
        self._is_fitting = False

    def setup(self, stage: str | None = None) -> None:
        """Take note that a trainer begins."""
        self._is_fitting = stage == "fit"

    def teardown(self, stage: str | None = None) -> None:
        """Close all loaders. They are made anew when they are asked for again."""
        self._is_fitting = False
        self.close()

    def close(self) -> None:
        """End workers and release files. Batches that were handed out stay."""
        self._last = self._positions()
        for passes in self._made.values():
            passes.close()
        self._made.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        # Loaders have workers and files; another process makes its own.
        return {**self.__dict__, "_made": {}, "_last": self._positions()}

    def _training(self, name: str, make: Callable[[], Passes], *, alone: bool = True) -> Passes:
        """Return a loader to train by, at the epoch and batch where it is to begin.

        Args:
            alone: it is the only one, so that the trainer's batches and epochs are its own.
        """
        passes = self._kept(name, make)
        trainer = self.trainer if self._is_fitting else None
        passes.progress = self._progress if trainer is not None and alone else None
        passes.is_fixed = bool(getattr(trainer, "overfit_batches", 0))
        if name in self._resume:
            passes.load_state_dict(self._resume.pop(name))
        elif trainer is not None:
            passes.set_epoch(int(trainer.current_epoch))
        return passes

    def _kept(self, name: str, make: Callable[[], Passes]) -> Passes:
        if name not in self._made:
            self._made[name] = make()
        return self._made[name]

    def _progress(self) -> Progress:
        """Return how far Lightning's Trainer is."""
        done = self.trainer.fit_loop.epoch_loop.batch_progress.current.processed
        return Progress(self.trainer.current_epoch, done, self.trainer.num_training_batches)

    def _positions(self) -> dict[str, State]:
        """Return where each loader to train by goes on; those that have not begun are left out."""
        made = {n: p.state_dict() for n, p in self._made.items() if n.startswith(TRAIN)}
        return {**self._last, **made, **self._resume}

    def _begin_at(self, positions: Mapping[str, Any]) -> None:
        for name, position in positions.items():
            passes = self._made.get(name)
            if passes is None or self._is_fitting:  # Lightning asks for the loader after that
                self._resume[name] = dict(position)
            if passes is not None:
                passes.load_state_dict(position)


def entry(state: Mapping[str, Any], name: str) -> Any:
    """Return an entry of a state.

    Raises:
        ConfigError: it is none of a module.
    """
    if name not in state:
        raise ConfigError(f"A state of a data module has no {name!r}. Load one that has.")
    return state[name]
