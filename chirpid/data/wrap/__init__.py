"""Wrappers for any map dataset: kept samples, samples made ahead, columns in memory."""

from chirpid.data.wrap.buffers import PreallocatedBuffer
from chirpid.data.wrap.cached import CachedDataset
from chirpid.data.wrap.prefetch import AsyncPrefetchDataset
from chirpid.data.wrap.records import RecordFile
from chirpid.data.wrap.vectorized import VectorizedDataset

__all__ = [
    "AsyncPrefetchDataset",
    "CachedDataset",
    "PreallocatedBuffer",
    "RecordFile",
    "VectorizedDataset",
]
