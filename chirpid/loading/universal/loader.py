"""A loader of samples that have numbers, to be used where a `DataLoader` of torch was."""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset

from chirpid.data.general.adapt import Adapted
from chirpid.data.general.columns import Columns
from chirpid.data.general.source import ItemSource
from chirpid.data.samplers import ResumableBatches, Sampler
from chirpid.errors import ConfigError
from chirpid.loading.adapt import Adapter
from chirpid.loading.backends.base import Ring
from chirpid.loading.factory import Loader
from chirpid.loading.universal.base import AnyLoader, closed
from chirpid.types import Backend, Batch, IntArray

MOST_REASONS = 20


class UniversalLoader(AnyLoader):
    """Batches of samples that have numbers; the same for any backend and number of workers.

    Args:
        sampler: the ids of each batch.
        places: samples of the dataset that these ids stand for; None for themselves.
        part: what was given, where it is a part of a dataset.
        adapter: told of each whole pass; it may change who makes the batches of the next.
    """

    def __init__(
        self,
        adapted: Adapted,
        loader: Loader,
        sampler: Sampler,
        *,
        batch_size: int,
        device: torch.device | None = None,
        places: IntArray | None = None,
        part: Subset[Any] | None = None,
        adapter: Adapter | None = None,
    ) -> None:
        super().__init__(batch_size, device)
        self._part, self.adapter = part, adapter
        self._is_whole = False
        self.order = sampler  # not `sampler`: trainers take that for one of torch's own
        self._places = places
        self.adapted, self.loader = adapted, loader
        self.num_skipped = 0
        """Samples that were left out, in all epochs together."""
        self.skipped: dict[int, str] = {}
        """Why, of the first ones."""
        self._source = adapted.source
        self._ring: Ring | None = None
        self._turns = itertools.count()
        self._copied_at: int | None = None
        self._current: object = None
        self._end = weakref.finalize(self, loader.close)

    @property
    def dataset(self) -> Any:
        """What is loaded: the dataset, or the columns that were made of it; a `Subset` as it is.

        So its length is the number of samples.
        """
        return self._source.dataset if self._part is None else self._part

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return self.order.num_batches(self.epoch)

    def _pass(self, epoch: int, first: int) -> Iterator[Any]:
        if not self._end.alive:
            raise closed()
        self._tell_adapter()  # of a pass whose end nobody asked for: Lightning counts the batches
        self._at, self._current = (epoch, first), (this := object())
        asked = self._asked(epoch)[first:]
        for number, batch in enumerate(self._watched(self.loader.run(asked)), start=first):
            self._at = (epoch, number + 1)
            self._is_whole = number + 1 == len(asked) and not first
            if "num_skipped" in batch.stages:
                self._note_skipped(asked[number - first], batch.ids)
                if not len(batch.ids):
                    continue
            yield self._handed_out(batch)
            if self._copied_at is not None and self._ring is not None:
                self._ring.was_used(self._copied_at)
            if not self._end.alive:
                raise closed()
            if self._current is not this:
                raise ConfigError(
                    "This loader is iterated over anew before an iteration has ended. Take two "
                    "loaders for two iterations at once; making one is quick."
                )
        self._at = (epoch + 1, 0)
        self._note_pass()
        self._tell_adapter()

    def _tell_adapter(self) -> None:
        """Tell of the last pass if it was a whole one: a part of one compares with no other."""
        was_whole, self._is_whole = self._is_whole, False
        if self.adapter is None or not was_whole:
            return
        self._note_pass()
        if steps := self.monitor.stepped_s:
            seconds = self.monitor.elapsed_s
            self.adapter.epoch_done(self.passes[-1], seconds=seconds, num_batches=len(steps))

    def _asked(self, epoch: int) -> list[IntArray]:
        """Return what the batches of an epoch are fetched by."""
        source, batches = self._source, list(self.order.batches(epoch))
        if self._places is not None:
            batches = [self._places[ids] for ids in batches]
        if not isinstance(source, ItemSource):
            return batches
        if not batches:
            return []
        # In one go: of four small batches, each would take as long as all of them.
        turns = np.concatenate(self.order.repeats(epoch))
        asked = source.asked(np.concatenate(batches), epoch, turns)
        ends = list(itertools.accumulate(map(len, batches)))
        return [asked[a:b] for a, b in itertools.pairwise([0, *ends])]

    def _handed_out(self, batch: Batch) -> Any:
        rows: Any = batch.inputs
        if self.loader.name is Backend.processes and isinstance(rows, Columns):
            rows = self._copied(rows)  # workers write there again, whoever holds it
        return self._on_device(rows.lend())

    def _copied(self, rows: Columns) -> Columns:
        if self._ring is None:
            plan = self.loader.plan
            pin = plan is not None and plan.pin_memory.value
            self._ring = Ring(self._source, num_slots=3 if pin else 2, pin_memory=pin)
        self._ring.reserve(len(rows))
        turn = self._copied_at = next(self._turns)
        self._ring.renew(turn)
        copy: Columns = self._ring.slot(turn).first(len(rows))
        copy.copy_from(rows)
        return copy

    def _note_skipped(self, asked: IntArray, kept: IntArray) -> None:
        source = self._source
        assert isinstance(source, ItemSource)
        for row in source.rows_of(np.setdiff1d(asked, kept)).tolist():
            self.num_skipped += 1
            if len(self.skipped) < MOST_REASONS and row not in self.skipped:
                self.skipped[row] = source.reason(row)

    def state_dict(self) -> dict[str, Any]:
        """Return where to go on: after the last batch that was handed out."""
        return dict(ResumableBatches(self.order).state_at(*self._at))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next iteration where a state was taken, with any number of workers.

        Raises:
            ConfigError: the state is of other settings, or damaged.
        """
        ResumableBatches(self.order).load_state_dict(state)  # which looks at it
        self._begin_at(int(state["epoch"]), int(state["batch"]))

    def close(self) -> None:
        """End workers and release files. Batches that were handed out stay."""
        self._end()
