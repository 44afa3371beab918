"""A loader of any dataset, to be used where a `DataLoader` of torch was."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch

from chirpid.data.general.adapt import Adapted
from chirpid.data.general.columns import Columns
from chirpid.data.general.source import ItemSource
from chirpid.data.general.trees import map_leaves
from chirpid.data.samplers import ResumableBatches, Sampler
from chirpid.errors import ConfigError
from chirpid.loading.backends.base import Ring
from chirpid.loading.factory import Loader
from chirpid.loading.monitor import EpochMonitor
from chirpid.types import Backend, Batch, IntArray

MOST_FIGURES = 1000
"""Epochs whose figures are kept; of more, the last ones."""
MOST_REASONS = 20


class UniversalLoader:
    """Batches of any dataset, an epoch for each time it is iterated over.

    A batch is what torch's `DataLoader` would return, and stays as it is: memory is used again
    only once nobody holds it. Iterating again is the next epoch, in an order of its own; the same
    seed gives the same batches whoever fetches them.

    Made by `make_loader`.
    """

    def __init__(
        self,
        adapted: Adapted,
        loader: Loader,
        sampler: Sampler,
        *,
        batch_size: int | None,
        device: torch.device | None = None,
    ) -> None:
        self.sampler, self.batch_size, self.device = sampler, batch_size, device
        self.figures: list[dict[str, float]] = []
        """What was measured in each epoch that was passed through, named as in MLflow."""
        self.monitor = EpochMonitor()
        """Of the epoch that goes on, or of the last."""
        self.skipped: dict[int, str] = {}
        """Samples that were left out, and why; of the first ones."""
        self.num_skipped = 0
        self.adapted, self.loader = adapted, loader
        self._source = adapted.source
        self._position = ResumableBatches(sampler)
        self._next: tuple[int, int] = (0, 0)
        self._at: tuple[int, int] = (0, 0)
        self._ring: Ring | None = None
        self._passing = 0
        self._end = weakref.finalize(self, loader.close)

    @property
    def dataset(self) -> Any:
        """What is loaded."""
        return getattr(self._source, "dataset", None)

    @property
    def epoch(self) -> int:
        """The epoch that goes on, or else the next."""
        return self._at[0]

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return self.sampler.num_batches(self._at[0])

    def __iter__(self) -> Iterator[Any]:
        assert self._end.alive, "the loader is closed"
        (epoch, first), self._passing = self._next, self._passing + 1
        self._next = (epoch + 1, 0)
        return self._pass(epoch, first, self._passing)

    def _pass(self, epoch: int, first: int, this: int) -> Iterator[Any]:
        self._at, self.monitor = (epoch, first), (monitor := EpochMonitor())
        asked = self._asked(epoch)[first:]
        number = first
        try:
            for batch in monitor.watch(self.loader.run(asked)):
                if self._passing != this:
                    raise ConfigError(
                        "This loader is iterated over a second time before the first has ended. "
                        "Make another loader for that: make_loader is quick."
                    )
                number += 1
                self._at = (epoch, number)
                if "num_skipped" in batch.stages:
                    self._note_skipped(asked[number - first - 1], batch.ids)
                    if not len(batch.ids):
                        continue
                yield self._handed_out(batch)
            self._at = (epoch + 1, 0)
        finally:
            if figures := monitor.summary():
                self.figures = [*self.figures, figures][-MOST_FIGURES:]

    def _asked(self, epoch: int) -> list[IntArray]:
        """Return what the batches of an epoch are fetched by."""
        source, batches = self._source, list(self.sampler.batches(epoch))
        if not isinstance(source, ItemSource):
            return batches
        turns = self.sampler.repeats(epoch)
        return [source.asked(ids, epoch, t) for ids, t in zip(batches, turns, strict=True)]

    def _handed_out(self, batch: Batch) -> Any:
        rows: Any = batch.inputs
        if self.loader.name is Backend.processes and isinstance(rows, Columns):
            rows = self._copied(rows)  # workers write to the memory of the next-but-one
        tree = rows.lend()
        if self.device is None:
            return tree
        return map_leaves(tree, self._to_device)

    def _copied(self, rows: Columns) -> Columns:
        if self._ring is None:
            plan = self.loader.plan
            pin = plan is not None and plan.pin_memory.value
            self._ring = Ring(self._source, num_slots=3 if pin else 2, pin_memory=pin)
        turn = self._at[1]
        self._ring.reserve(len(rows))
        self._ring.renew(turn)
        copy: Columns = self._ring.slot(turn).first(len(rows))
        copy.copy_from(rows)
        return copy

    def _to_device(self, leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return leaf.to(self.device, non_blocking=True)
        return leaf

    def _note_skipped(self, asked: IntArray, kept: IntArray) -> None:
        source = self._source
        assert isinstance(source, ItemSource)
        for row in source.rows_of(np.setdiff1d(asked, kept)).tolist():
            self.num_skipped += 1
            if len(self.skipped) < MOST_REASONS and row not in self.skipped:
                self.skipped[row] = source.reason(row)

    def set_epoch(self, epoch: int) -> None:
        """Have the next iteration be of this epoch; where a state was loaded, from its batch on.

        Raises:
            ConfigError: it is no whole number from 0 on.
        """
        if isinstance(epoch, bool) or not isinstance(epoch, int) or epoch < 0:
            raise ConfigError(f"epoch={epoch!r} is no epoch. Use whole numbers from 0 on.")
        if epoch != self._next[0]:
            self._next = (epoch, 0)
        self._at = self._next

    def state_dict(self) -> dict[str, Any]:
        """Return where to go on: after the last batch that was handed out."""
        return dict(self._position.state_at(*self._at))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next iteration where a state was taken, with any number of workers.

        Raises:
            ConfigError: the state is of other settings, or damaged.
        """
        self._position.load_state_dict(state)
        self._next = self._at = (int(state["epoch"]), int(state["batch"]))

    def close(self) -> None:
        """End workers and release files. Batches that were handed out stay."""
        self._end()

    def __enter__(self) -> UniversalLoader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
