"""A dataset and what is kept of it: rows of one table, or samples one by one."""

from __future__ import annotations

import threading
from typing import Any, Protocol

import numpy as np

from chirpid.data.general.columns import Columns, Layout
from chirpid.data.general.protocols import BatchReader, MapDataset, getitems
from chirpid.data.general.trees import Tree
from chirpid.data.wrap.filling import UnlikeError, put
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


class Cache(Protocol):
    """What is kept of a dataset, and the way to the rest."""

    counts: Counts
    kept: RowTable | SharedRows | SampleStore

    def samples(self, ids: IntArray) -> list[Tree]:
        """Return samples as the dataset gives them."""
        ...

    def read_into(self, ids: IntArray, out: Columns) -> None:
        """Write sample `ids[i]` into row i of `out`."""
        ...


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
        is_reader = isinstance(dataset, BatchReader) and dataset.layout == form.layout
        self._reader: Any = dataset if is_reader else None

    def samples(self, ids: IntArray) -> list[Tree]:
        found = self._copies(ids) if self._copy else self._views(ids)
        return asked_for(self.dataset, ids, found, self.counts, self._keep)

    def _copies(self, ids: IntArray) -> list[tuple[Tree] | None]:
        batch = self.form.layout.empty(len(ids))
        missing = set(self.kept.read(ids, batch).tolist())
        rows = zip(*(tensor.unbind(0) for tensor in batch.tensors), strict=True)
        return [None if place in missing else (self.form.sample(leaves),)
                for place, leaves in enumerate(rows)]  # fmt: skip

    def _views(self, ids: IntArray) -> list[tuple[Tree] | None]:
        views = map(self.kept.view, ids.tolist())
        return [None if view is None else (self.form.sample([rows[0] for rows in view.tensors]),)
                for view in views]  # fmt: skip

    def _keep(self, ids: IntArray, samples: list[Tree]) -> None:
        batch = self.form.layout.empty(len(ids))
        try:
            put(samples, self.form.layout, batch, ids.tolist())
        except UnlikeError:
            self.varies = True
        else:
            self.kept.put(ids, batch)

    def read_into(self, ids: IntArray, out: Columns) -> None:
        missing = self.kept.read(ids, out)
        self.counts.add(len(ids), len(missing))
        if not len(missing):
            return
        wanted, rows = np.unique(ids[missing], return_inverse=True)
        batch = self.form.layout.empty(len(wanted))
        if self._reader is not None:
            self._reader.read_into(wanted, batch)
        else:
            put(getitems(self.dataset, wanted.tolist()), self.form.layout, batch, wanted.tolist())
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
            found = [self.kept.get(id_) for id_ in ids.tolist()]
        return asked_for(self.dataset, ids, found, self.counts, self._keep)

    def _keep(self, ids: IntArray, samples: list[Tree]) -> None:
        with self._lock:
            for id_, sample in zip(ids.tolist(), samples, strict=True):
                self.kept.put(id_, sample)

    def read_into(self, ids: IntArray, out: Columns) -> None:
        # Who asks took the samples for rows before one was found that is none.
        assert self._layout is not None, "ask for the layout first"
        put(self.samples(ids), self._layout, out, ids.tolist())


def asked_for(
    dataset: MapDataset,
    ids: IntArray,
    found: list[tuple[Tree] | None],
    counts: Counts,
    keep: Any,
) -> list[Tree]:
    """Return the samples that were found, and in the other places those of the dataset."""
    missing = np.array([place for place, sample in enumerate(found) if sample is None], np.int64)
    counts.add(len(ids), len(missing))
    if not len(missing):
        return [sample[0] for sample in found if sample is not None]
    samples = getitems(dataset, ids[missing].tolist())
    keep(ids[missing], samples)
    made = iter(samples)
    return [next(made) if sample is None else sample[0] for sample in found]
