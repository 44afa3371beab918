"""ChirpID: train bird-sound classifiers from files to tracked results, and load any dataset.

What is named here comes when it is first used: importing the package imports nothing heavy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from chirpid.data.collate import CollatorRegistry as CollatorRegistry
    from chirpid.data.collate import collators as collators
    from chirpid.data.hdf5.dataset import HDF5Dataset as HDF5Dataset
    from chirpid.data.images.dataset import ImageDataset as ImageDataset
    from chirpid.data.tensors.store import TensorStore as TensorStore
    from chirpid.data.text.characters import CharacterTokenizer as CharacterTokenizer
    from chirpid.data.text.dataset import TextDataset as TextDataset
    from chirpid.data.text.stream import TextStream as TextStream
    from chirpid.data.wrap import AsyncPrefetchDataset as AsyncPrefetchDataset
    from chirpid.data.wrap import CachedDataset as CachedDataset
    from chirpid.data.wrap import PreallocatedBuffer as PreallocatedBuffer
    from chirpid.data.wrap import VectorizedDataset as VectorizedDataset
    from chirpid.loading.universal.easy import make_loader as make_loader
    from chirpid.loading.universal.handing import DataModule as DataModule
    from chirpid.loading.universal.module import UniversalDataModule as UniversalDataModule
    from chirpid.loading.universal.optimize import optimize_dataset as optimize_dataset
    from chirpid.loading.universal.telling import explain as explain

__version__ = "0.1.0"

_HOMES = {
    "AsyncPrefetchDataset": "chirpid.data.wrap",
    "CachedDataset": "chirpid.data.wrap",
    "CharacterTokenizer": "chirpid.data.text.characters",
    "CollatorRegistry": "chirpid.data.collate",
    "DataModule": "chirpid.loading.universal.handing",
    "HDF5Dataset": "chirpid.data.hdf5.dataset",
    "ImageDataset": "chirpid.data.images.dataset",
    "PreallocatedBuffer": "chirpid.data.wrap",
    "TensorStore": "chirpid.data.tensors.store",
    "TextDataset": "chirpid.data.text.dataset",
    "TextStream": "chirpid.data.text.stream",
    "UniversalDataModule": "chirpid.loading.universal.module",
    "VectorizedDataset": "chirpid.data.wrap",
    "collators": "chirpid.data.collate",
    "explain": "chirpid.loading.universal.telling",
    "make_loader": "chirpid.loading.universal.easy",
    "optimize_dataset": "chirpid.loading.universal.optimize",
}


if not TYPE_CHECKING:  # to a type checker it would be there whatever the name

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'chirpid' has no attribute '{name}'")
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
