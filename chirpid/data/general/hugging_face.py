"""Datasets of Hugging Face: whole batches of numbers out of the Arrow table that they lie in.

`datasets` is not imported here: whoever has one of its objects has imported it. Rows are read where
they lie, in memory or in a mapped file, and converted to what a formatted sample is made of. What
is no number of fixed shape, or goes through a transform, is left to the dataset, sample by sample.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from chirpid.data.datasets.base import as_ids
from chirpid.data.general.columns import Columns, Layout, layout_of
from chirpid.data.general.trees import leaves_of
from chirpid.native.gather import check_within
from chirpid.types import IntArray, Mode

MOST_LEAVES = 64
"""Lists of Python numbers become a leaf a number; beyond so many the dataset makes its samples."""
NUM_TRIED = 4
"""Samples that are made both ways and compared."""

Numbers = np.ndarray[Any, Any]


def is_map_dataset(data: object) -> bool:
    """Return whether data is a `datasets.Dataset`."""
    return _is_a(data, "Dataset")


def is_streaming(data: object) -> bool:
    """Return whether data is a `datasets.IterableDataset`."""
    return _is_a(data, "IterableDataset")


def is_dataset_dict(data: object) -> bool:
    """Return whether data is a dict of datasets, as `load_dataset` returns one."""
    return _is_a(data, "DatasetDict", "IterableDatasetDict")


def _is_a(data: object, *names: str) -> bool:
    module = sys.modules.get("datasets")
    kinds = [getattr(module, name, None) for name in names]
    return any(isinstance(kind, type) and isinstance(data, kind) for kind in kinds)


def is_shuffled_stream(data: Any) -> bool:
    """Return whether a `datasets.IterableDataset` comes in another order in each epoch."""
    at = getattr(data, "_ex_iterable", None)
    while at is not None:
        if "Shuffle" in type(at).__name__:
            return True
        at = getattr(at, "ex_iterable", None)
    return False


def of_rank(data: Any, rank: int, num_ranks: int) -> Any:
    """Return the part of a `datasets.IterableDataset` that one of several processes reads."""
    from datasets.distributed import split_dataset_by_node  # type: ignore[import-untyped]

    return split_dataset_by_node(data, rank=rank, world_size=num_ranks)


def reader_of(data: Any) -> HuggingFaceReader | None:
    """Return a `datasets.Dataset` that gives whole batches; None where it has to make samples.

    The first samples and the last are made by the dataset too, and have to be the same.
    """
    if not is_map_dataset(data) or data.format["type"] not in (None, "numpy", "torch"):
        return None
    if not len(data):
        return None
    reader = HuggingFaceReader.of(data)
    return reader if reader is not None and _agrees(reader, data) else None


@dataclass(frozen=True, slots=True)
class Stored:
    """A column of an Arrow table: numbers of one shape."""

    chunks: tuple[Numbers, ...]
    """[rows of the chunk, *shape] each, where they lie."""
    begin_C: IntArray
    """int64, the first row of each chunk."""

    @staticmethod
    def of(column: Any) -> Stored | None:
        """Return a `pyarrow.ChunkedArray` if it holds nothing but numbers of one shape."""
        found = [numbers_of(chunk) for chunk in column.chunks if len(chunk)]
        chunks = tuple(chunk for chunk in found if chunk is not None)
        if len(chunks) < len(found) or len({chunk.shape[1:] for chunk in chunks}) != 1:
            return None
        lengths = [len(chunk) for chunk in chunks]
        return Stored(chunks, np.cumsum([0, *lengths[:-1]]))

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.chunks[0].shape[1:])

    def rows(self, ids: IntArray) -> tuple[Numbers, IntArray | None]:
        """Return rows in memory of their own; and the place of each, unless they are in order.

        Rows of one chunk come together.
        """
        if len(self.chunks) == 1:
            return self.chunks[0][ids], None
        chunk_B = np.searchsorted(self.begin_C, ids, side="right") - 1
        place_B = np.argsort(chunk_B, kind="stable")
        chunk_B, within_B = chunk_B[place_B], (ids - self.begin_C[chunk_B])[place_B]
        taken = np.empty((len(ids), *self.shape), self.chunks[0].dtype)
        ends = [*(np.flatnonzero(np.diff(chunk_B)) + 1).tolist(), len(ids)]
        for begin, end in itertools.pairwise([0, *ends]):
            # Without "clip" numpy would go through a copy.
            np.take(self.chunks[chunk_B[begin]], within_B[begin:end], axis=0,
                    out=taken[begin:end], mode="clip")  # fmt: skip
        return taken, place_B


def numbers_of(array: Any) -> Numbers | None:
    """Return a `pyarrow.Array` of numbers, or of lists as long as each other, as [N, *shape].

    None if it holds something else, or nulls. Nothing is copied but bools, which Arrow packs.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.compute as pc  # type: ignore[import-untyped]

    shape, kind = [len(array)], pa.types
    while True:
        if array.null_count:
            return None
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        elif kind.is_fixed_size_list(array.type):
            shape.append(array.type.list_size)
            array = array.flatten()
        elif kind.is_list(array.type) or kind.is_large_list(array.type):
            lengths = pc.min_max(pc.list_value_length(array)).as_py()
            if lengths["min"] is None or lengths["min"] != lengths["max"]:
                return None
            shape.append(lengths["min"])
            array = array.flatten()
        else:
            break
    numeric = kind.is_integer(array.type) or kind.is_floating(array.type)
    # Numbers from 2^63 on are no int64, as which all others come.
    if not (numeric or kind.is_boolean(array.type)) or kind.is_uint64(array.type):
        return None
    numbers: Numbers = array.to_numpy(zero_copy_only=False)
    return numbers.reshape(shape)


class HuggingFaceItems:
    """A `datasets.Dataset` whose samples are those of a batch, as torch's `DataLoader` asks.

    In numpy's format the numbers of a sample that is asked for alone are of other types.
    """

    thread_safe: ClassVar[bool] = False

    def __init__(self, data: Any) -> None:
        self.dataset = data

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return list(self.dataset.__getitems__(indices))


class HuggingFaceReader(HuggingFaceItems):
    """A `datasets.Dataset` whose samples are numbers of one shape, read as whole batches.

    Batches are what torch's `DataLoader` makes of the dataset, in the format that it has.
    """

    thread_safe: ClassVar[bool] = True

    def __init__(self, data: Any, layout: Layout, stored: dict[str, Stored]) -> None:
        super().__init__(data)
        self.layout = layout
        self.mode = Mode.lazy if data.cache_files else Mode.eager
        """Whether rows lie in mapped files or in memory."""
        self._stored = stored
        self._row_N = _rows_of(data)

    @classmethod
    def of(cls, data: Any) -> HuggingFaceReader | None:
        """Return the reader, or None where a sample is not made of stored numbers alone."""
        sample = HuggingFaceItems(data)[0]
        layout = layout_of([sample])
        if layout is None or len(layout.leaves) > MOST_LEAVES:
            return None
        if any(leaf.dtype is torch.bfloat16 for leaf in layout.leaves):  # numpy has none
            return None
        stored = {}
        for name in sample:
            column = Stored.of(data.data.column(name))
            if column is None or not _is_made_of(sample[name], column.shape):
                return None
            stored[name] = column
        return cls(data, layout, stored)

    def read_into(self, ids: IntArray, out: Columns) -> None:
        """Write sample `ids[i]` into row i of `out`, which has as many rows as there are ids.

        Raises:
            IndexError: an id is not that of a sample.
        """
        ids = as_ids(ids)
        check_within(ids, len(self), "id", "samples")
        rows = ids if self._row_N is None else self._row_N[ids].astype(np.int64)
        tensors = iter(out.tensors)
        for column in self._stored.values():
            taken, places = column.rows(rows)
            _write(taken, slice(None) if places is None else places, tensors)

    def fingerprint(self) -> str:
        """Return a text that changes with the content, as Hugging Face has it."""
        return f"hugging face {self.dataset._fingerprint} {self.dataset.format}"

    def __getstate__(self) -> dict[str, Any]:
        return {"dataset": self.dataset}  # which knows the files that it lies in

    def __setstate__(self, state: dict[str, Any]) -> None:
        again = type(self).of(state["dataset"])
        assert again is not None, "it was read before it was sent here"
        self.__dict__.update(again.__dict__)


def _write(taken: Numbers, places: slice | IntArray, tensors: Iterator[Tensor]) -> None:
    """Write rows into those places of a column, or of as many as a row has Python numbers."""
    first = next(tensors)
    if tuple(first.shape) == taken.shape:
        first.numpy()[places] = taken
        return
    flat = taken.reshape(len(taken), -1)
    for number in range(flat.shape[1]):
        to = next(tensors) if number else first
        to.numpy()[places] = flat[:, number]


def _rows_of(data: Any) -> Numbers | None:
    """Return the row of each sample, where the dataset was shuffled or is a part."""
    indices = data._indices
    return None if indices is None else indices.column(0).to_numpy()


def _is_made_of(value: Any, shape: tuple[int, ...]) -> bool:
    """Return whether a value of a sample is an array of this shape, or lists that hold as much."""
    leaves = leaves_of(value)
    if len(leaves) == 1 and tuple(getattr(leaves[0], "shape", ())) == shape:
        return not isinstance(value, list)
    plain = bool(leaves) and all(isinstance(leaf, bool | int | float) for leaf in leaves)
    return plain and np.shape(value) == shape


def _agrees(reader: HuggingFaceReader, data: Any) -> bool:
    """Return whether batches of a few samples are those that the dataset makes itself."""
    ids = np.unique(np.linspace(0, len(data) - 1, NUM_TRIED).astype(np.int64))
    samples = data.__getitems__(ids.tolist())
    if layout_of(samples) != reader.layout:
        return False
    batch = reader.layout.empty(len(ids))
    reader.read_into(ids, batch)
    for row, sample in enumerate(samples):
        for tensor, leaf in zip(batch.tensors, leaves_of(sample), strict=True):
            if not np.array_equal(tensor[row], leaf, equal_nan=tensor.is_floating_point()):
                return False
    return True
