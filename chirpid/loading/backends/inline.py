"""Fetches in the calling thread: no hand-over, nothing to go wrong."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence

import numpy as np

from chirpid.data.datasets import BatchSource, TensorDataset, as_ids
from chirpid.data.general.source import ReaderSource
from chirpid.loading.backends.base import Ring, largest
from chirpid.types import Batch, IntArray, Span

TOGETHER_BYTES = 2**21
"""Small batches are made several at a time, up to this size in all: for one of 100 kB, calling
would take as long as copying. What is larger leaves the cache before it is used."""
MOST_TOGETHER = 64


class InlineBackend:
    """Two buffers in turn; a third where a device copies from them while the next is filled."""

    def __init__(self, dataset: BatchSource, *, pin_memory: bool = False) -> None:
        self.dataset = dataset
        # Counted on from pass to pass: the last batch of one may be in use when the next begins.
        self._turns = itertools.count()
        self._ring = Ring(dataset, num_slots=3 if pin_memory else 2, pin_memory=pin_memory)

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        size = largest(batches)
        together = self._num_together(size)
        if together > 1:
            return self._run_together(batches, size, together)
        return self._run_singly(batches, size)

    def _num_together(self, size: int) -> int:
        """Return how many batches are made in one call."""
        if not isinstance(self.dataset, TensorDataset | ReaderSource) or not self.dataset.is_kept:
            return 1  # nothing is read or decoded before it is asked for
        batch_bytes = max(1, size * self.dataset.spec.batch_row_bytes)
        return min(MOST_TOGETHER, TOGETHER_BYTES // batch_bytes)

    def _run_singly(self, batches: Sequence[IntArray], size: int) -> Iterator[Batch]:
        self._ring.reserve(size)
        for ids, turn in zip(map(as_ids, batches), self._turns, strict=False):
            self._ring.renew(turn)
            begin_s, begin_core_s = time.perf_counter(), time.thread_time()
            inputs, stages = self.dataset.fetch(ids, self._ring.slot(turn))
            core_s = time.thread_time() - begin_core_s
            spans = (Span(-1, begin_s, time.perf_counter(), stages, core_s),)
            if not self.dataset.spec.in_parts and inputs.ids is not None:
                ids = inputs.ids
            yield Batch(ids, inputs, stages, spans=spans)
            self._ring.was_used(turn)

    def _run_together(
        self, batches: Sequence[IntArray], size: int, together: int
    ) -> Iterator[Batch]:
        """Yield batches that share a buffer, which is in turn with another as single ones are."""
        self._ring.reserve(size * together)
        upcoming = map(as_ids, batches)
        while group := list(itertools.islice(upcoming, together)):
            turn = next(self._turns)
            self._ring.renew(turn)
            whole = self._ring.slot(turn)
            begin_s, begin_core_s = time.perf_counter(), time.thread_time()
            try:
                stages = self.dataset.fetch(np.concatenate(group), whole)[1]
            except IndexError:
                yield from self._run_singly(group, size)  # up to the batch that is to blame
                return
            parts = self._ring.parts(turn, size)
            sizes = [len(ids) for ids in group]
            num_rows = sum(sizes)
            if num_rows < size * len(group):
                parts = whole[:num_rows].split(sizes)
            seconds = stages["gather"] / max(1, num_rows)
            core_s = time.thread_time() - begin_core_s
            spans: tuple[Span, ...] = (Span(-1, begin_s, time.perf_counter(), stages, core_s),)
            for ids, num, part in zip(group, sizes, parts, strict=False):
                made = {"gather": seconds * num, "num_cache_hits": num}
                yield Batch(ids, part, made, spans=spans)
                spans = ()  # told with the first of them
            self._ring.was_used(turn)

    def close(self) -> None:
        """Nothing to end."""
