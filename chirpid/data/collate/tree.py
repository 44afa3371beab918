"""Samples as trees: walked as torch's default collation walks them, with the way to each leaf."""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from chirpid.errors import DataError

Path = tuple[Hashable, ...]
"""The way to a leaf: keys of mappings, places in sequences, names in named tuples."""
Field = str | int | tuple[Hashable, ...]
"""How a user names a leaf: a key, a place, or a way of several steps; `()` is the whole sample."""
LeafCollate = Callable[[Path, Sequence[Any]], Any]
"""Makes the batch of one leaf of what the samples have there."""

LEAVES = (Tensor, np.ndarray, np.generic, float, int, str, bytes)


def path_of(field: Field) -> Path:
    """Return the way that a field names."""
    return field if isinstance(field, tuple) else (field,)


def path_text(path: Path) -> str:
    """Return the way to a leaf as Python would write it: sample['audio'][0]."""
    return "sample" + "".join(f"[{step!r}]" for step in path)


def at(tree: Any, path: Path) -> Any:
    """Return what a sample or a batch has at the end of a way.

    Raises:
        LookupError: nothing is there.
    """
    for step in path:
        try:
            named = isinstance(tree, tuple) and isinstance(step, str)
            tree = getattr(tree, str(step)) if named else tree[step]
        except (AttributeError, KeyError, IndexError, TypeError) as error:
            raise LookupError(path_text(path)) from error
    return tree


def collate_tree(
    samples: Sequence[Any],
    leaf: LeafCollate,
    *,
    stop: Callable[[Path, Any], bool] | None = None,
    path: Path = (),
) -> Any:
    """Return a batch with the structure of the samples, each leaf made by `leaf`.

    As in torch, the first sample says what the structure is, tuples become lists, and other
    containers keep their type where it lets itself be filled.

    Args:
        stop: says of a way and what the first sample has there that it is a leaf, whatever it is.
    Raises:
        DataError: a sample has another structure than the first.
    """
    first = samples[0]
    if isinstance(first, LEAVES) or (stop is not None and stop(path, first)):
        return leaf(path, samples)

    def below(step: Hashable, values: Sequence[Any]) -> Any:
        return collate_tree(values, leaf, stop=stop, path=(*path, step))

    if isinstance(first, Mapping):
        return _as_mapping(
            first, {key: below(key, column(samples, key, path=path)) for key in first}
        )
    if not isinstance(first, Sequence):
        return leaf(path, samples)
    names = getattr(first, "_fields", None) if isinstance(first, tuple) else None
    columns = _transposed(samples, path)
    values = [below(step, each) for step, each in zip(names or range(len(first)), columns,
                                                      strict=True)]  # fmt: skip
    return type(first)(*values) if names is not None else _as_sequence(first, values)


def column(samples: Sequence[Any], key: Hashable, *, path: Path = ()) -> list[Any]:
    """Return what each sample has under the key.

    Raises:
        DataError: a sample has no such key.
    """
    try:
        return [sample[key] for sample in samples]
    except (KeyError, IndexError, TypeError) as error:
        bad = next(n for n, sample in enumerate(samples) if not _has(sample, key))
        found = samples[bad]
        has = ", ".join(map(repr, found)) if isinstance(found, Mapping) else type(found).__name__
        raise DataError(
            f"{path_text((*path, key))} is in sample 0 of the batch and not in sample {bad}, "
            f"which has {has or 'nothing'}. Give each sample the same keys; for a missing "
            'modality, there is collate="multimodal".'
        ) from error


def _has(sample: Any, key: Hashable) -> bool:
    try:
        sample[key]
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _transposed(samples: Sequence[Any], path: Path) -> list[tuple[Any, ...]]:
    """Return what all samples have at each place.

    Raises:
        DataError: one is no sequence, or of another length than the first.
    """
    size = len(samples[0])
    if set(map(type, samples)) <= {list, tuple} and set(map(len, samples)) == {size}:
        return list(zip(*samples, strict=True))
    for n, sample in enumerate(samples):
        if not hasattr(sample, "__len__") or isinstance(sample, (str, bytes, Mapping)):
            raise DataError(
                f"{path_text(path)} is a {type(samples[0]).__name__} in sample 0 of the batch and "
                f"{type(sample).__name__} in sample {n}. Return the same structure for each."
            )
        if len(sample) != size:
            raise DataError(
                f"{path_text(path)} has {size} items in sample 0 of the batch and {len(sample)} in "
                f'sample {n}. collate="pad" pads lists of numbers to the longest.'
            )
    return list(zip(*samples, strict=True))


def _as_mapping(first: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """Return the values in a mapping of the type of `first`, or in a dict where that fails."""
    if type(first) is dict:
        return values
    try:
        if isinstance(first, MutableMapping):
            clone = copy.copy(first)  # the type may carry more than its items
            clone.update(values)
            return clone
        return type(first)(values)  # type: ignore[call-arg]
    except TypeError:
        return values


def _as_sequence(first: Sequence[Any], values: list[Any]) -> Any:
    """Return the values in a sequence of the type of `first`; in a list for tuples, as in torch."""
    if isinstance(first, tuple) or type(first) is list:
        return values
    try:
        if isinstance(first, MutableSequence):
            clone = copy.copy(first)
            for place, value in enumerate(values):
                clone[place] = value
            return clone
        return type(first)(values)  # type: ignore[call-arg]
    except TypeError:
        return values
