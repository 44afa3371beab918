"""Whatever users hold their samples in, as something that loaders can fetch from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor
from torch.utils.data import IterableDataset, Subset, TensorDataset

from chirpid.data.collate import collators
from chirpid.data.general.fill import Collate
from chirpid.data.general.hugging_face import (
    HuggingFaceItems,
    is_dataset_dict,
    is_map_dataset,
    reader_of,
)
from chirpid.data.general.look import Look, look_at
from chirpid.data.general.protocols import BatchReader, MapDataset
from chirpid.data.general.source import ItemSource, ReaderSource, Source
from chirpid.data.general.trees import is_named_tuple
from chirpid.data.wrap.vectorized import VectorizedDataset
from chirpid.errors import ConfigError, DataError
from chirpid.types import IntArray, Mode

Collation = str | Collate | None
"""Name of a collator, a function of a list of samples, or None: as torch's default does it."""
COPIED_BYTES = 2**28
"""Lists of samples up to this size are copied to columns, of which batches are made sooner."""


@dataclass(frozen=True, slots=True)
class Adapted:
    """A dataset as a loader takes it."""

    source: Source
    id_N: IntArray
    """Its samples, of those that the source has."""
    look: Look | None = None
    """What was seen of its samples, where each is a Python object."""
    how: str = ""
    """How batches are made, for people."""

    def __len__(self) -> int:
        return len(self.id_N)

    @property
    def places(self) -> IntArray | None:
        """The samples of the source, where the dataset is a part of them."""
        is_whole = len(self) == self.source.num_segments
        return None if is_whole and bool((self.id_N == np.arange(len(self))).all()) else self.id_N


def reads_in_blocks(data: object) -> bool:
    """Return whether a dataset says in which order its blocks are best read."""
    return getattr(data, "mode", None) == Mode.streaming and hasattr(data, "sampler")


def is_stream(data: object) -> bool:
    """Return whether samples come one after another, and have no number."""
    if isinstance(data, IterableDataset):
        return True
    sized = hasattr(data, "__len__") and hasattr(data, "__getitem__")
    return not sized and isinstance(data, Iterable) and not is_columns(data)


def is_columns(data: object) -> bool:
    """Return whether data holds all samples as columns: [N, ...] for each leaf of a sample.

    A list is a list of samples, a tuple or a mapping of arrays holds columns.
    """
    if isinstance(data, TensorDataset | Tensor | np.ndarray | pd.Series):
        return True
    if isinstance(data, pd.DataFrame):
        return all(isinstance(d, np.dtype) and d.kind in "biufc" for d in data.dtypes)
    if isinstance(data, Mapping):
        return bool(data) and all(_is_column(value) for value in data.values())
    if isinstance(data, tuple):
        return bool(data) and not is_named_tuple(data) and all(map(_is_column, data))
    return False


def _is_column(value: object) -> bool:
    return isinstance(value, Tensor | np.ndarray | pd.Series) or is_columns(value)


def adapt(
    data: Any,
    *,
    batch_size: int = 1,
    collate: Collation = None,
    seed: int = 0,
    skips: bool = False,
    among: IntArray | None = None,
) -> Adapted:
    """Return samples that have numbers as a loader takes them.

    Args:
        data: a map dataset of torch, a `Subset` of one, columns (see `is_columns`), a list of
            samples, a DataFrame, one of our own datasets.
        batch_size: samples to make a batch of, to see what that takes.
        skips: samples that cannot be made are left out.
        among: the samples that will be asked for; None for all.

    Raises:
        DataError: there are no samples, or data is nothing that holds any.
        ConfigError: there is no such collator, or it has nothing to do.
    """
    if isinstance(data, Subset):
        places = np.asarray(data.indices, dtype=np.int64)
        if not len(places):
            raise DataError("The dataset is a part with no samples. Look at how it was split.")
        whole = adapt(
            data.dataset, batch_size=batch_size, collate=collate, seed=seed, skips=skips,
            among=places if among is None else places[among],
        )  # fmt: skip
        return Adapted(whole.source, whole.id_N[places], whole.look, whole.how)
    if collate is not None or not isinstance(data, BatchReader):  # which may have no others
        _check_holds_samples(data)
    if collate is None:
        found = _by_columns(data, skips)
        if found is not None:
            return found
    return _by_items(_as_map(data), collate, seed, skips, among)


def _check_holds_samples(data: Any) -> None:
    if is_dataset_dict(data):
        raise DataError(
            f"The dict holds datasets ({', '.join(data)}) and no samples. Give one, as d['train']; "
            "UniversalDataModule takes the dict."
        )
    if isinstance(data, Mapping) and not is_columns(data) and len(data) and 0 not in data:
        name = next((key for key in data if not _is_column(data[key])), "")
        raise DataError(
            f"A {type(data).__name__} holds columns, and '{name}' is a "
            f"{type(data[name]).__name__}. Give tensors or arrays, as numpy.asarray makes them; or "
            "a list of samples."
        )
    if is_columns(data) or (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        if not is_columns(data) and len(data) == 0:
            raise DataError("The dataset has no samples. Look at what it was made from.")
        return
    raise DataError(
        f"{type(data).__name__} is no dataset: it has no length and no numbered samples. Give a "
        "torch dataset, tensors or arrays, a list of samples, a DataFrame or an iterable."
    )


def _by_columns(data: Any, skips: bool) -> Adapted | None:
    """Return data that needs no Python object for each sample."""
    data = reader_of(data) or data
    if is_columns(data):
        data = VectorizedDataset(data)
        if not len(data):
            raise DataError("The dataset has no samples. Look at what it was made from.")
    if isinstance(data, VectorizedDataset):
        source = ReaderSource(data, Mode.eager)
        return Adapted(source, np.arange(len(data)), how="columns in memory, copied by row")
    # One that fails in the middle of a batch does not say which samples could be read.
    if isinstance(data, BatchReader) and not len(data):
        raise DataError("The dataset has no samples. Look at what it was made from.")
    if isinstance(data, BatchReader) and not (skips and isinstance(data, MapDataset)):
        kept = Mode(getattr(data, "mode", Mode.lazy))
        mode = kept if kept in (Mode.eager, Mode.cached) else Mode.lazy
        return Adapted(ReaderSource(data, mode), np.arange(len(data)),
                       how=f"{type(data).__name__}, read where the batch lies")  # fmt: skip
    if isinstance(data, list):
        return _list_as_columns(data)
    return None


def _list_as_columns(data: list[Any]) -> Adapted | None:
    look = look_at(data)
    if look.layout is None or look.sample_bytes * len(data) > COPIED_BYTES:
        return None
    try:
        copied = VectorizedDataset.of(data)
    except DataError:  # they are alike only as far as was looked
        return None
    source = ReaderSource(copied, Mode.eager)
    return Adapted(source, np.arange(len(data)), how="a list, copied to columns once")


def _as_map(data: Any) -> MapDataset:
    if isinstance(data, pd.DataFrame):
        return FrameRows(data)
    if is_map_dataset(data):
        return HuggingFaceItems(data)
    if is_columns(data):
        return VectorizedDataset(data)
    if isinstance(data, tuple):
        return list(data)
    dataset: MapDataset = data
    return dataset


class FrameRows:
    """Rows of a DataFrame whose columns are not all numbers, as dicts."""

    thread_safe = False

    def __init__(self, frame: pd.DataFrame) -> None:
        self._columns = {str(name): column.to_numpy() for name, column in frame.items()}
        self._num_rows = len(frame)

    def __len__(self) -> int:
        return self._num_rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: column[index] for name, column in self._columns.items()}


def _by_items(
    data: MapDataset, collate: Collation, seed: int, skips: bool, among: IntArray | None
) -> Adapted:
    look = look_at(data, skips=skips, among=among)
    name, made = _collator(collate, look)
    layout = look.layout if collate in (None, "default") else None
    how = f"{type(data).__name__}, a Python object for each sample, "
    how += "written to columns" if layout is not None else f"collated by '{name}'"
    row_bytes = look.sample_bytes
    source = ItemSource(
        data, layout=layout, row_bytes=row_bytes, collate=made, seed=seed, skips=skips,
        draws=look.draws,
    )  # fmt: skip
    return Adapted(source, np.arange(len(data)), look, how)


def _collator(collate: Collation, look: Look) -> tuple[str, Collate]:
    """Return the name and the collator that was asked for.

    Raises:
        ConfigError: there is none of that name; or samples make no batch, and none was named.
    """
    if callable(collate):
        return getattr(collate, "__name__", type(collate).__name__), collate
    if collate == "auto":
        choice = collators.select(look.samples[0])
        return choice.name, collators.make(choice.name)
    if collate is not None:
        return collate, collators.make(collate)
    made = collators.make("default")
    if look.layout is None:
        try:
            made(list(look.samples))
        except DataError as error:
            raise ConfigError(
                f"{error} Or name another collator, such as collate='pad'; registered are "
                f"{', '.join(collators.names())}."
            ) from error
    return "default", made
