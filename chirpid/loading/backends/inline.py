"""Fetches in the calling thread: no hand-over, nothing to go wrong."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence

import numpy as np

from chirpid.data.datasets import BatchSource, TensorDataset, as_ids
from chirpid.data.general.source import ItemSource, ReaderSource
from chirpid.loading.backends.base import Ring, largest
from chirpid.types import Batch, IntArray, Span

TOGETHER_BYTES = 2**21
"""Small batches are made several at a time, up to this size in all: for one of 100 kB, calling
would take as long as copying. What is larger leaves the cache before it is used."""
TOGETHER_S = 0.002
"""Those of a dataset of Python objects, as many as take so long: a training step in between leaves
nothing of the code in the processor's cache, and what is short takes several times as long."""
MOST_TOGETHER = 64


class InlineBackend:
    """Two buffers in turn; a third where a device copies from them while the next is filled."""

    def __init__(self, dataset: BatchSource, *, pin_memory: bool = False) -> None:
        self.dataset = dataset
        # Counted on from pass to pass: the last batch of one may be in use when the next begins.
        self._turns = itertools.count()
        self._ring = Ring(dataset, num_slots=3 if pin_memory else 2, pin_memory=pin_memory)
        self._together = 1
        """Batches that are made in one call."""

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        size = largest(batches)
        most = min(MOST_TOGETHER, self._num_together(size))
        if most > 1:
            return self._run_together(batches, size, most)
        return self._run_singly(batches, size)

    def _num_together(self, size: int) -> int:
        """Return how many batches are made in one call at most."""
        source = self.dataset
        if isinstance(source, ItemSource):
            # Samples that are left out, and batches of no fixed shape, are told by the batch.
            if source.skips or source.layout is None:
                return 1
        elif not isinstance(source, TensorDataset | ReaderSource) or not source.is_kept:
            return 1  # nothing is read or decoded before it is asked for
        return TOGETHER_BYTES // max(1, size * source.spec.batch_row_bytes)

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

    def _run_together(self, batches: Sequence[IntArray], size: int, most: int) -> Iterator[Batch]:
        """Yield batches that share a buffer, which is in turn with another as single ones are."""
        self._ring.reserve(size * most)
        upcoming, is_measured = map(as_ids, batches), isinstance(self.dataset, ItemSource)
        if not is_measured:
            self._together = most
        while group := list(itertools.islice(upcoming, min(most, self._together))):
            turn = next(self._turns)
            self._ring.renew(turn)
            try:
                made = self._made(group, turn, size)
            except Exception as error:
                if not (is_measured or isinstance(error, IndexError)):
                    raise
                self._together = 1
                yield from self._run_singly(group, size)  # up to the batch that is to blame
                continue
            yield from made
            self._ring.was_used(turn)
            if is_measured:
                took_s = max(made[0].spans[0].end_s - made[0].spans[0].begin_s, 1e-9)
                soon = int(TOGETHER_S * len(group) / took_s)
                self._together = max(1, min(soon, 4 * self._together))

    def _made(self, group: list[IntArray], turn: int, size: int) -> list[Batch]:
        """Return batches that are made in one call; how long it took is told with the first."""
        whole, sizes = self._ring.slot(turn), [len(ids) for ids in group]
        begin_s, begin_core_s = time.perf_counter(), time.thread_time()
        stages = self.dataset.fetch(np.concatenate(group), whole)[1]
        core_s, num_rows = time.thread_time() - begin_core_s, sum(sizes)
        span = Span(-1, begin_s, time.perf_counter(), stages, core_s)
        parts = self._ring.parts(turn, size)
        if num_rows < size * len(group):
            parts = whole[:num_rows].split(sizes)
        batches: list[Batch] = []
        for ids, num, part in zip(group, sizes, parts, strict=False):
            made = {name: seconds * num / max(1, num_rows) for name, seconds in stages.items()}
            if "gather" in made:
                made["num_cache_hits"] = num
            batches.append(Batch(ids, part, made, spans=() if batches else (span,)))
        return batches

    def close(self) -> None:
        """Nothing to end."""
