"""A dataset and what is kept of it: rows of one table, or samples one by one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from chirpid.data.buffers import ThreadBuffers
from chirpid.data.general.columns import Columns, Layout
from chirpid.data.general.fill import UnlikeError, fill
from chirpid.data.general.protocols import BatchReader, MapDataset, getitems
from chirpid.data.general.trees import Tree
from chirpid.data.wrap.forms import Form
from chirpid.data.wrap.row_table import RowTable, SharedRows, copy_some
from chirpid.data.wrap.rows import Rows
from chirpid.data.wrap.samples import SampleStore
from chirpid.types import IntArray


class Counts:
    """How often a sample was there, and was not."""

    def __init__(self) -> None:
        self.num_hits = self.num_misses = 0
        self._lock = threading.Lock()

    def add(self, num_asked: int, num_missing: int) -> None:
        with self._lock:
            self.num_hits += num_asked - num_missing
            self.num_misses += num_missing


class RowCache:
    """Samples of one shape."""

    def __init__(
        self, dataset: MapDataset, form: Form, kept: RowTable | SharedRows, *, copy: bool,
        counts: Counts,
    ) -> None:  # fmt: skip
        self.dataset, self.form, self.kept, self.counts = dataset, form, kept, counts
        self.varies = False
        """A sample was not of the shape of the others."""
        self._copy = copy
        self._buffers = ThreadBuffers()
        is_reader = isinstance(dataset, BatchReader) and dataset.layout == form.layout
        self._reader: Any = dataset if is_reader else None

    def samples(self, ids: IntArray) -> list[Tree]:
        if not self.kept.has_any(ids):
            found, missing = list[Any]([None] * len(ids)), np.arange(len(ids))
        elif self._copy:
            batch = self.form.layout.empty(len(ids))
            missing = self.kept.read(ids, batch)
            found = self.form.samples(batch)
        else:
            views = [self.kept.view(id_) for id_ in ids.tolist()]
            missing = np.flatnonzero([view is None for view in views])
            found = [None if view is None else self.form.samples(view)[0] for view in views]
        self.counts.add(len(ids), len(missing))
        return completed(self.dataset, ids, found, missing, self._keep)

    def _keep(self, ids: IntArray, samples: list[Tree]) -> None:
        batch = self._memory(len(ids))
        try:
            fill(samples, self.form.layout, batch, ids.tolist())
        except UnlikeError:
            self.varies = True
        else:
            self.kept.put(ids, batch)

    def _memory(self, num_rows: int) -> Columns:
        """Return memory of this thread for rows on their way into the table."""
        layout = self.form.layout
        return Columns(
            layout.skeleton,
            [
                self._buffers.take(str(place), (num_rows, *leaf.shape), leaf.dtype)
                for place, leaf in enumerate(layout.leaves)
            ],
        )

    def read_into(self, ids: IntArray, out: Columns) -> None:
        missing = self.kept.read(ids, out)
        self.counts.add(len(ids), len(missing))
        if not len(missing):
            return
        wanted, rows = np.unique(ids[missing], return_inverse=True)
        batch = self._memory(len(wanted))
        if self._reader is not None:
            self._reader.read_into(wanted, batch)
        else:
            fill(getitems(self.dataset, wanted.tolist()), self.form.layout, batch, wanted.tolist())
        self.kept.put(wanted, batch)
        copy_some([Rows(tensor) for tensor in batch.tensors], rows, out, missing)


class SampleCache:
    """Samples of any kind."""

    varies = False

    def __init__(
        self, dataset: MapDataset, kept: SampleStore, layout: Layout | None, counts: Counts
    ) -> None:
        self.dataset, self.kept, self.counts = dataset, kept, counts
        self._layout = layout
        self._lock = threading.Lock()

    def samples(self, ids: IntArray) -> list[Tree]:
        with self._lock:
            entries = [self.kept.get(id_) for id_ in ids.tolist()]
        missing = np.flatnonzero([entry is None for entry in entries])
        found = [entry and entry[0] for entry in entries]
        self.counts.add(len(ids), len(missing))
        return completed(self.dataset, ids, found, missing, self._keep)

    def _keep(self, ids: IntArray, samples: list[Tree]) -> None:
        with self._lock:
            for id_, sample in zip(ids.tolist(), samples, strict=True):
                self.kept.put(id_, sample)

    def read_into(self, ids: IntArray, out: Columns) -> None:
        # Who asked took the samples for rows before one was found that is none.
        assert self._layout is not None, "ask for the layout first"
        fill(self.samples(ids), self._layout, out, ids.tolist())


def completed(
    dataset: MapDataset,
    ids: IntArray,
    found: list[Any],
    missing: IntArray,
    keep: Callable[[IntArray, list[Tree]], None],
) -> list[Tree]:
    """Return what was found, with the samples of the dataset in the missing places."""
    if len(missing):
        samples = getitems(dataset, ids[missing].tolist())
        keep(ids[missing], samples)
        for place, sample in zip(missing.tolist(), samples, strict=True):
            found[place] = sample
    return found
