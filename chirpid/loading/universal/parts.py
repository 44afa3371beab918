"""The parts of a data module: what is trained on, what is validated, what is tested."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset, IterableDataset, Subset

from chirpid.data.general.adapt import adapt, is_stream
from chirpid.data.general.hugging_face import (
    is_dataset_dict,
    is_map_dataset,
    is_shuffled_stream,
    is_streaming,
)
from chirpid.data.general.protocols import BatchReader
from chirpid.errors import ConfigError, DataError
from chirpid.loading.universal.placed import comes_twice
from chirpid.loading.universal.values import num_samples
from chirpid.types import IntArray

VALIDATION = ("validation", "val", "valid", "dev")
"""What Hugging Face's sets call the part to validate on."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """Some samples of a dataset, or a stream."""

    data: Any
    """The dataset itself; a `Subset` of it only where `numbered` says so."""
    id_N: IntArray | None
    """The samples, of those that the dataset has; None for all, or a stream."""

    @staticmethod
    def of(data: Any, id_N: IntArray | None = None, name: str = "train") -> Part:
        """Return samples of a dataset; those of a `Subset` are found in what it is a part of.

        Raises:
            DataError: there are none, or data is no dataset.
            ConfigError: a sample that the `Subset` names several times is partly left out.
        """
        if is_stream(data):
            return Part(data, None)
        if count_of(data, name) == 0 or (id_N is not None and not len(id_N)):
            raise DataError(f"{name} has no samples. Look at what it was made from.")
        whole_N: IntArray | None = None
        while isinstance(data, Subset):
            places = np.asarray(data.indices, dtype=np.int64)
            data, whole_N = data.dataset, places if whole_N is None else places[whole_N]
        if whole_N is None or id_N is None:
            return Part(data, id_N if whole_N is None else whole_N)
        _check_one_side(whole_N, id_N)
        return Part(data, whole_N[id_N])

    @property
    def numbered(self) -> Part:
        """The same samples, with a number for each: its place, where one comes several times."""
        if self.id_N is None or not comes_twice(self.id_N):
            return self
        return Part(Subset(self.data, self.id_N), None)  # type: ignore[arg-type]  # as it takes

    @property
    def is_stream(self) -> bool:
        """Whether samples have no numbers."""
        return is_stream(self.data)

    @property
    def ids(self) -> IntArray:
        """The samples, of those that the dataset has."""
        return np.arange(len(self)) if self.id_N is None else self.id_N

    def __len__(self) -> int:
        return num_samples(self.data) if self.id_N is None else len(self.id_N)


def _check_one_side(whole_N: IntArray, place_n: IntArray) -> None:
    """Check that a sample is held out as often as it comes, or not at all.

    Raises:
        ConfigError: it would be trained on, and validated on as well.
    """
    both = np.intersect1d(whole_N[place_n], np.delete(whole_N, place_n))
    if len(both):
        raise ConfigError(
            f"Sample {both[0]} comes several times in the Subset, and would be trained on and held "
            "out. Give group=subset.indices, which keeps it on one side, or val=..."
        )


def count_of(data: Any, name: str) -> int:
    """Return how many samples a dataset has.

    Raises:
        DataError: it is none.
    """
    try:
        return num_samples(data)
    except TypeError:
        adapt(data)  # which says what is wrong with it
        raise DataError(f"{name}: {type(data).__name__} has no length.") from None


Sets = dict[str, Part]


@dataclass(frozen=True, slots=True, eq=False)
class Named:
    """One set, or several by name or in order."""

    parts: Sets
    kind: type[list[Any]] | type[dict[Any, Any]] | None = None
    """What they came in; None for a single set."""

    @staticmethod
    def of(given: Any, name: str) -> Named:
        """Return what a user gave for `val` or `test`: nothing, a set, or a list or dict of sets.

        Raises:
            DataError: one of them has no samples, or is no dataset.
        """
        if given is None:
            return Named({}, list)
        if isinstance(given, list | tuple) and given and all(map(_is_set, given)):
            named = {f"{name}[{number}]": data for number, data in enumerate(given)}
            return Named({key: Part.of(data, None, key) for key, data in named.items()}, list)
        if isinstance(given, Mapping) and given and all(map(_is_set, given.values())):
            return Named(
                {str(k): Part.of(v, None, f"{name}['{k}']") for k, v in given.items()}, dict
            )
        return Named({name: Part.of(given, None, name)})


def _is_set(value: object) -> bool:
    """Return whether a value is a dataset of its own, and no column and no sample."""
    is_known = isinstance(value, Dataset | BatchReader) or is_stream(value)
    return is_known or is_map_dataset(value) or is_streaming(value)


def opened(train: Any, val: Any, test: Any) -> tuple[Any, Any, Any]:
    """Return the sets to train, validate and test on, taken out of a dict of Hugging Face.

    Raises:
        ConfigError: it has no set to train on, or a set is given twice.
    """
    if not is_dataset_dict(train):
        return train, val, test
    if "train" not in train:
        raise ConfigError(
            f"The dict of datasets has no 'train', only {', '.join(train)}. Give one of them."
        )
    found = [name for name in VALIDATION if name in train]
    for name, given in ((found[0] if found else "", val), ("test", test)):
        if given is not None and name in train:
            raise ConfigError(
                f"The dict of datasets has '{name}', and another is given. Give train=d['train']."
            )
    if found:
        val = train[found[0]]
    return train["train"], val, train.get("test") if test is None else test


class Stretch(IterableDataset[Any]):
    """The samples of a stream from one place to another, the same in each pass through it."""

    def __init__(self, stream: Iterable[Any], begin: int, end: int | None) -> None:
        self.stream, self.begin, self.end = stream, begin, end
        self.splits_itself = False

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self.stream), self.begin, self.end)


def first_held_out(stream: Any, num_held: int) -> tuple[Part, Part]:
    """Return a stream without its first samples, and those samples.

    Raises:
        ConfigError: the first samples are others in each epoch.
    """
    if not is_streaming(stream):
        return Part(Stretch(stream, num_held, None), None), Part(Stretch(stream, 0, num_held), None)
    if is_shuffled_stream(stream):
        raise ConfigError(
            f"val_take={num_held} of a shuffled stream would be other samples in each epoch. Leave "
            "out its shuffle: the samples to train on are shuffled here, within `window`."
        )
    # It skips by itself, and stays resumable.
    return Part(stream.skip(num_held), None), Part(stream.take(num_held), None)
