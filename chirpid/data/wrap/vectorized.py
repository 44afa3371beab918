"""Samples that lie in columns in memory: whole batches by one copy for each column."""

from __future__ import annotations

import operator
import time
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor

from chirpid.data.datasets.base import as_ids
from chirpid.data.general.columns import Columns, Layout, Leaf
from chirpid.data.general.protocols import MapDataset
from chirpid.data.general.trees import Tree, leaves_of, skeleton_of
from chirpid.data.kept import Stages
from chirpid.data.wrap.filling import columns_from
from chirpid.data.wrap.rows import Rows, located
from chirpid.data.wrap.tables import Table, builder, is_one, table_of
from chirpid.types import IntArray


class VectorizedDataset:
    """Columns of equal length as a dataset, in the memory that they came in.

    Args:
        data: tensors or arrays of numbers [N, ...], in tuples, lists and mappings as deep as
            anyone likes; a list of plain numbers; torch's `TensorDataset`; a DataFrame or a
            Series of pandas.

    Raises:
        DataError: a column holds no numbers, lies on another device or has no rows; or the
            columns differ in length.
    """

    thread_safe: ClassVar[bool] = True
    layout: Layout
    """What each sample is."""
    columns: Columns
    """All rows."""

    def __init__(self, data: Any) -> None:
        self._set(table_of(data))

    def _set(self, table: Table) -> None:
        tensors: list[Tensor] = leaves_of(table.tree)
        leaves = tuple(Leaf(tensor.dtype, tuple(tensor.shape[1:])) for tensor in tensors)
        self._table = table
        self.layout = Layout(leaves, skeleton_of(table.tree))
        self.columns = Columns(self.layout.skeleton, tensors)
        self._build = builder(table.tree)
        self._rows = [Rows(tensor) for tensor in tensors]
        self._copies = [rows.into for rows in self._rows]
        self._num_rows = len(tensors[0])

    @classmethod
    def of(
        cls,
        dataset: MapDataset,
        *,
        num_threads: int | None = None,
        max_memory_usage: int | float | str | None = None,
        freeze: bool = False,
    ) -> Self:
        """Return all samples of a dataset, which are to be numbers of one shape, in memory.

        Args:
            num_threads: how many ask the dataset at once; by default one, or as many as torch has
                where the dataset says that it is `thread_safe`.
            max_memory_usage: bytes, a text such as "2 GiB", or a share of the free memory.
            freeze: take one draw of samples that are made with random numbers.

        Raises:
            ConfigError: samples draw random numbers, and `freeze` is not set.
            DataError: samples differ in structure, type or shape, or hold what is no number.
            BudgetError: the samples would take more memory than they may.
        """
        return cls(
            columns_from(
                dataset, num_threads=num_threads, max_memory=max_memory_usage, freeze=freeze
            )
        )

    def __len__(self) -> int:
        return self._num_rows

    @property
    def nbytes(self) -> int:
        """Bytes of all columns."""
        return self.columns.nbytes

    def __getitem__(self, index: Any) -> Tree:
        """Return a sample, a part or a batch.

        Args:
            index: a number, for a sample as torch's `TensorDataset` would return it; a slice, for
                views of the columns, in their memory; or ids [B], for a batch in memory of its own.
                Of columns that are read-only slices and samples are copies: torch has no tensor
                that cannot be written to.
        """
        if isinstance(index, slice) and (index.step is None or index.step > 0):
            return self._views(index)
        if isinstance(index, slice):  # torch has no views that go backwards
            index = range(*index.indices(self._num_rows))
        elif is_one(index):
            row = operator.index(index)
            if not -self._num_rows <= row < self._num_rows:
                raise IndexError(f"id {row} is not among the {self._num_rows} samples")
            return self._views(row)
        batch, _ = self.fetch(self._ids(index))
        return batch.tree()

    def __getitems__(self, indices: Sequence[int]) -> list[Tree]:
        """Return samples, copied at once."""
        batch, _ = self.fetch(self._ids(indices))
        rows = zip(*(tensor.unbind(0) for tensor in batch.tensors), strict=True)
        return [self._build(leaves) for leaves in rows]

    def _views(self, rows: int | slice) -> Tree:
        views = [tensor[rows] for tensor in self.columns.tensors]
        if any(self._table.read_only):
            both = zip(views, self._table.read_only, strict=True)
            views = [view.clone() if read_only else view for view, read_only in both]
        return self._build(views)

    def _ids(self, indices: Any) -> IntArray:
        """Return ids as an array; as elsewhere in Python, those below 0 count from the end."""
        ids = np.asarray(indices)
        if ids.dtype == bool:
            ids = np.flatnonzero(ids)
        ids = as_ids(ids.astype(np.int64, casting="same_kind") if ids.size else ids)
        return np.where(ids < 0, ids + self._num_rows, ids)

    def read_into(self, ids: IntArray, out: Columns) -> None:
        """Write sample `ids[i]` into row i of `out`, which has as many rows as there are ids.

        Raises:
            IndexError: an id is not that of a sample; nothing is written.
        """
        ids, address = located(ids)
        for copy, tensor in zip(self._copies, out.tensors):  # noqa: B905 - one layout
            copy(ids, address, tensor)

    def fetch(self, ids: IntArray, out: Columns | None = None) -> tuple[Columns, Stages]:
        """Return samples in the order of `ids`, in `out` or in memory of their own, and the time.

        Raises:
            IndexError: an id is not that of a sample.
        """
        begin = time.perf_counter()
        batch = self.layout.empty(len(ids)) if out is None else out.first(len(ids))
        self.read_into(ids, batch)
        return batch, {"gather": time.perf_counter() - begin, "num_cache_hits": len(ids)}

    def share_memory_(self) -> Self:
        """Move the columns to memory that worker processes share, and return the dataset."""
        for tensor in self.columns.tensors:
            tensor.share_memory_()  # type: ignore[no-untyped-call]
        self._set(Table(self._table.tree, (False,) * len(self._copies)))
        return self

    def __getstate__(self) -> dict[str, Any]:
        # Addresses are others in another process.
        return {"table": self._table}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._set(state["table"])
