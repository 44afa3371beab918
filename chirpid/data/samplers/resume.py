"""Any sampler as a `batch_sampler` of torch's DataLoader, which can go on in mid-epoch.

A position is (epoch, batch). A loader with workers asks for batches ahead of what it delivers, so
the position of a training is counted where batches are delivered: in `follow`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from chirpid.data.samplers.base import Sampler
from chirpid.data.samplers.checks import whole
from chirpid.errors import ConfigError
from chirpid.types import IntArray

B = TypeVar("B")
State = dict[str, int | str]


class ResumableBatches:
    """The batches of one epoch after another: each pass through it is the next epoch.

    A pass that is broken off is over, too. `set_epoch` says which epoch comes next instead; for the
    epoch of a loaded state it keeps the place, so that a resumed loop over epochs goes on in the
    middle.

    Args:
        arrays: yield int64 arrays, for datasets with a fast `__getitems__`; else lists of int.
    """

    def __init__(self, sampler: Sampler, *, arrays: bool = False) -> None:
        self.sampler = sampler
        self._arrays = arrays
        self._next = (0, 0)
        """Where the next pass begins."""
        self._at = (0, 0)
        """The position of a state that is taken now."""
        self._loaded: tuple[int, int] | None = None
        """The position of a state, until a pass begins."""
        self._kept: tuple[int, list[IntArray]] | None = None
        self._fingerprint: str | None = None

    @property
    def epoch(self) -> int:
        """The epoch of the pass that runs, or else of the next."""
        return self._at[0]

    def __len__(self) -> int:
        """Return the batches of the whole epoch, also where a pass begins in its middle."""
        return len(self._batches(self.epoch))

    def __iter__(self) -> Iterator[Any]:
        # Only the first batch begins a pass: a DataLoader with workers asks for two iterators, and
        # uses one.
        epoch, first = self._next
        batches = self._batches(epoch)
        self._next, self._loaded = (epoch + 1, 0), None
        for number, batch in enumerate(batches[first:], start=first + 1):
            self._at = (epoch, number)
            yield batch if self._arrays else batch.tolist()
        self._at = (epoch + 1, 0)

    def set_epoch(self, epoch: int) -> None:
        """Have the next pass be of this epoch: from its start, or from where a state left it."""
        epoch = whole("epoch", epoch, least=0)
        loaded = self._loaded
        self._next = loaded if loaded is not None and loaded[0] == epoch else (epoch, 0)
        self._at = self._next

    def follow(self, loader: Iterable[B]) -> Iterator[B]:
        """Yield what a DataLoader over these batches yields, and count it as done.

        Raises:
            ConfigError: the loader has another batch sampler.
        """
        if getattr(loader, "batch_sampler", self) is not self:
            raise ConfigError("The loader takes its batches elsewhere. Give it batch_sampler=this.")
        epoch, first = self._next
        for number, batch in enumerate(loader, start=first + 1):
            self._at = (epoch, number)
            yield batch
        self._at = (epoch + 1, 0)

    def state_dict(self) -> State:
        """Return where to go on: after the last batch that `follow` yielded.

        Without `follow`, after the last batch that was asked for: the same without workers only.
        """
        return self.state_at(*self._at)

    def state_at(self, epoch: int, num_done: int) -> State:
        """Return where to go on once `num_done` batches of an epoch are done."""
        if self._fingerprint is None:
            self._fingerprint = self.sampler.fingerprint()
        return {"epoch": epoch, "batch": num_done, "fingerprint": self._fingerprint}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next pass where a state was taken.

        One that was taken at the end of an epoch begins the next, unless `set_epoch` asks for the
        epoch that ended: its pass is empty then.

        Raises:
            ConfigError: the state is of other settings, or of no batch of this sampler.
        """
        mine = self.state_at(*self._at)
        if missing := [name for name in mine if name not in state]:
            raise ConfigError(f"A state of batches has no {missing[0]!r}. Load one that has.")
        if state["fingerprint"] != mine["fingerprint"]:
            raise ConfigError(
                f"The state is of {state['fingerprint']}, not of {mine['fingerprint']}. "
                "Use the settings it was taken with, or start anew."
            )
        epoch = whole("epoch of the state", state["epoch"], least=0)
        batch = whole("batch of the state", state["batch"], least=0)
        if batch > len(self._batches(epoch)):
            raise ConfigError(f"Epoch {epoch} has no {batch} batches. The state is damaged.")
        self._loaded = (epoch, batch)
        is_over = batch == len(self._batches(epoch))
        self._next = self._at = (epoch + 1, 0) if is_over else self._loaded

    def _batches(self, epoch: int) -> list[IntArray]:
        if self._kept is None or self._kept[0] != epoch:
            self._kept = (epoch, list(self.sampler.batches(epoch)))
        return self._kept[1]
