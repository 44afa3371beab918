"""What a data module hands out: a loader, begun by its first batch, whose position is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from chirpid.loading.universal.base import AnyLoader
from chirpid.loading.universal.streams import StreamLoader


class Progress(NamedTuple):
    """How far a trainer is."""

    epoch: int
    num_done: int
    """Batches that it is done with."""
    num_batches: float
    """Batches of its epochs, where it has a limit of its own; else those that there are."""


class Passes:
    """The batches of one part of the data, an epoch for each time it is iterated over.

    A pass begins with its first batch: trainers ask for iterators that they do not use.

    Args:
        loader: makes the batches.
        is_fixed: each pass is the same, as for validation.
    """

    def __init__(self, loader: AnyLoader, *, is_fixed: bool = False) -> None:
        self.loader, self.is_fixed = loader, is_fixed
        """The loader of `make_loader`, with what it measured."""
        self.progress: Callable[[], Progress] | None = None
        """Tells how far the trainer is that takes the batches, if one does."""
        self._is_resumed = False
        self._before: dict[str, Any] | None = None
        """Where a stream was before its last batch."""

    def __len__(self) -> int:
        """Return the batches of an epoch.

        Raises:
            TypeError: nobody knows, as of most streams.
        """
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        if self.is_fixed:
            self.loader.set_epoch(0)
        elif self.progress is not None and not self._is_resumed:
            # A trainer may have begun a pass of this epoch already, and left it.
            self.loader.set_epoch(self.progress().epoch)
        self._is_resumed = False
        yield from self._noted() if isinstance(self.loader, StreamLoader) else self.loader

    def _noted(self) -> Iterator[Any]:
        """Yield the batches of a stream, and note where it was before each."""
        batches, self._before = iter(self.loader), None
        before = self.loader.state_dict()
        for batch in batches:
            self._before = before
            yield batch
            before = self.loader.state_dict()

    def set_epoch(self, epoch: int) -> None:
        """Have the next pass be of this epoch; where a state was loaded, from its batch on."""
        self.loader.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return where to go on: after the last batch that was handed out.

        With a trainer, after the last one that it is done with: Lightning asks for one more ahead
        of a stream, and where a step fails, its batch has not been trained on. After the last
        batch of an epoch, that is the beginning of the next.
        """
        state = self.loader.state_dict()
        if self.progress is None:
            return state
        progress = self.progress()
        if self._before is not None and self._before["batch"] == progress.num_done:
            state = self._before
        elif state["batch"] == progress.num_done + 1:
            state = {**state, "batch": progress.num_done}
        return state if state["batch"] < progress.num_batches else _next_epoch(state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next pass where a state was taken.

        Raises:
            ConfigError: the state is of other settings or other data, or damaged.
        """
        self.loader.load_state_dict(state)
        self._is_resumed = True

    def close(self) -> None:
        """End workers and release files."""
        self.loader.close()


def _next_epoch(state: Mapping[str, Any]) -> dict[str, Any]:
    begins: dict[str, Any] = {**state, "epoch": state["epoch"] + 1, "batch": 0}
    if "begun" in begins:
        begins["begun"] = None
    return begins
