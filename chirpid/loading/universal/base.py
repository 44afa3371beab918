"""What loaders of any dataset share: passes that are counted and measured, and can be resumed."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Self, SupportsIndex

import torch

from chirpid.data.general.trees import Tree, map_leaves
from chirpid.errors import ConfigError
from chirpid.loading.monitor import EpochMonitor
from chirpid.types import Batch

MOST_PASSES = 1000


def closed() -> ConfigError:
    """Return the error for a loader whose batches are asked for after its end."""
    return ConfigError("This loader is closed. Make another one, or close it after the last pass.")


class AnyLoader(ABC):
    """Batches of a dataset, an epoch for each time it is iterated over; made by `make_loader`.

    A batch is what torch's `DataLoader` returns for the same samples, and stays as it is: memory is
    used again only once nobody holds it. Iterating again is the next epoch, in an order of its own;
    `set_epoch` says which one comes next instead. An epoch that is broken off is over.
    """

    def __init__(self, batch_size: int, device: torch.device | None) -> None:
        self.batch_size, self.device = batch_size, device
        self._ended: list[dict[str, float]] = []
        self._is_noted = True
        self.monitor = EpochMonitor()
        """Of the epoch that goes on, or of the last."""
        self._next_epoch, self._next_batch = 0, 0
        self._at = (0, 0)

    @property
    @abstractmethod
    def dataset(self) -> Any:
        """What is loaded."""

    @property
    def epoch(self) -> int:
        """The epoch that goes on, or else the next, from 0."""
        return self._at[0]

    @abstractmethod
    def __len__(self) -> int:
        """Return the batches of an epoch.

        Raises:
            TypeError: nobody knows.
        """

    def __iter__(self) -> Iterator[Any]:
        # Begun by its first batch: trainers ask for iterators that they do not use.
        epoch, first = self._next_epoch, self._next_batch
        self._next_epoch, self._next_batch = epoch + 1, 0
        yield from self._pass(epoch, first)

    @abstractmethod
    def _pass(self, epoch: int, first: int) -> Iterator[Any]:
        """Yield the batches of an epoch from number `first` on."""

    @property
    def passes(self) -> list[dict[str, float]]:
        """What was measured in each epoch that gave a batch, named as in MLflow.

        Of more than a thousand epochs, the last; the one that goes on as far as it has come.
        """
        going_on = {} if self._is_noted else self.monitor.summary()
        return [*self._ended, *filter(None, [going_on])]

    def _watched(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Return the batches of a pass that begins, measured."""
        self._note_pass()  # one that was broken off
        self.monitor, self._is_noted = EpochMonitor(rarely=True), False
        return self.monitor.watch(batches)

    def _note_pass(self) -> None:
        """Write down the figures of the last pass, as it ends: what is used later is not its."""
        if not self._is_noted:
            self._ended, self._is_noted = self.passes[-MOST_PASSES:], True

    def set_epoch(self, epoch: int) -> None:
        """Have the next iteration be of this epoch; where a state was loaded, from its batch on.

        Raises:
            ConfigError: it is no whole number from 0 on.
        """
        if isinstance(epoch, bool) or not isinstance(epoch, SupportsIndex) or epoch < 0:
            raise ConfigError(f"epoch={epoch!r} is no epoch. Use whole numbers from 0 on.")
        epoch = operator.index(epoch)
        if epoch != self._next_epoch:
            self._begin_at(epoch, 0)
        self._at = (epoch, self._next_batch)

    @abstractmethod
    def state_dict(self) -> dict[str, Any]:
        """Return where to go on: after the last batch that was handed out."""

    @abstractmethod
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next iteration where a state was taken.

        Raises:
            ConfigError: the state is of other settings, or damaged.
        """

    def _begin_at(self, epoch: int, batch: int) -> None:
        self._next_epoch, self._next_batch = epoch, batch
        self._at = (epoch, batch)

    def _on_device(self, tree: Tree) -> Tree:
        """Return a batch where it was asked to be."""
        if self.device is None:
            return tree
        return map_leaves(tree, self._moved, keeps_tuples=True)

    def _moved(self, leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return leaf.to(self.device, non_blocking=True)
        return leaf

    @abstractmethod
    def close(self) -> None:
        """End workers and release files. Batches that were handed out stay."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
