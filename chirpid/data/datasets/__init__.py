"""The four modes of keeping segments."""

from chirpid.data.datasets.base import (
    BatchDataset,
    BatchSource,
    RowKind,
    SegmentDataset,
    as_ids,
)
from chirpid.data.datasets.cached import CachedDataset, DirectDataset, open_cached
from chirpid.data.datasets.eager import check_shared_memory, load_eager
from chirpid.data.datasets.lazy import LazyDataset
from chirpid.data.datasets.streaming import StreamingDataset
from chirpid.data.datasets.tensor import TensorDataset

__all__ = [
    "BatchDataset",
    "BatchSource",
    "CachedDataset",
    "DirectDataset",
    "LazyDataset",
    "RowKind",
    "SegmentDataset",
    "StreamingDataset",
    "TensorDataset",
    "as_ids",
    "check_shared_memory",
    "load_eager",
    "open_cached",
]
