"""Samples of one shape into the rows of a batch, a column at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.data.general.columns import Columns, Layout, Leaf, leaf_of
from chirpid.data.general.trees import Skeleton, Tree, is_sequence
from chirpid.errors import DataError

Collate = Callable[[list[Any]], Any]
"""Makes a batch of samples."""

PYTHON_NUMBERS = (bool, int, float)


class UnlikeError(DataError):
    """A sample is not what the others are."""


def fill(
    samples: Sequence[Tree], layout: Layout, out: Columns, ids: Sequence[int] | None = None
) -> None:
    """Write sample i into row i of `out`, which has as many rows.

    Args:
        ids: of the samples, for messages; by default their places.

    Raises:
        UnlikeError: a sample is not what the layout says. Nothing is converted: what torch's
            collate would turn into another number type, or refuse, is refused here.
    """
    if not samples:
        return
    columns = _columns(samples, layout.skeleton)
    if columns is not None and all(map(_write, layout.leaves, columns, out.tensors)):
        return
    raise _unlike(samples, layout, range(len(samples)) if ids is None else ids)


def _columns(samples: Sequence[Tree], skeleton: Skeleton) -> list[Sequence[Any]] | None:
    """Return the values of each leaf, over the samples; None if one has another structure."""
    if skeleton.kind is None:
        return [samples]
    kinds, size = set(map(type, samples)), {len(skeleton.parts)}
    if skeleton.is_flat and kinds <= {list, tuple, dict} and set(map(len, samples)) == size:
        if skeleton.kind is list and dict not in kinds:
            return list(zip(*samples, strict=True))
        if kinds == {dict} and all(key in sample for key in skeleton.keys for sample in samples):
            return [[sample[key] for sample in samples] for key in skeleton.keys]
    rows = [leaves_like(sample, skeleton) for sample in samples]
    found = [row for row in rows if row is not None]
    return list(zip(*found, strict=True)) if len(found) == len(rows) else None


def leaves_like(sample: Tree, skeleton: Skeleton) -> list[Any] | None:
    """Return the leaves of a sample in the order of a skeleton; None if it has another structure.

    The order of a mapping's keys does not count.
    """
    leaves: list[Any] = []
    return leaves if _collect(sample, skeleton, leaves) else None


def _collect(sample: Tree, skeleton: Skeleton, leaves: list[Any]) -> bool:
    """Append the leaves of a sample, and return whether it is of that structure."""
    if skeleton.kind is None:
        leaves.append(sample)
        return not (isinstance(sample, Mapping) or is_sequence(sample))
    if issubclass(skeleton.kind, Mapping):
        if not isinstance(sample, Mapping) or len(sample) != len(skeleton.keys):
            return False
        try:
            parts = [sample[key] for key in skeleton.keys]
        except KeyError:
            return False
    elif is_sequence(sample) and len(sample) == len(skeleton.parts):
        parts = list(sample)
    else:
        return False
    if skeleton.is_flat:
        leaves += parts
        return True
    return all(map(_collect, parts, skeleton.parts, [leaves] * len(parts)))


def _write(leaf: Leaf, values: Sequence[Any], out: Tensor) -> bool:
    """Write a column, and return whether all values were what the leaf is."""
    first = values[0]
    kinds = set(map(type, values))
    try:
        if isinstance(first, Tensor):
            # torch would convert numbers, and make room for other shapes.
            if not all(issubclass(kind, Tensor) for kind in kinds) or first.shape != leaf.shape:
                return False
            if [value.dtype for value in values].count(leaf.dtype) < len(values):
                return False
            with torch.no_grad():
                torch.stack(tuple(values), out=out)
        elif len(kinds) == 1 and type(first) in PYTHON_NUMBERS:
            if leaf_of(first) != leaf:
                return False
            out.numpy()[...] = values
        elif kinds == {np.ndarray} and first.ndim and out.is_contiguous():
            return leaf_of(first) == leaf and _lay(values, out.numpy())
        elif all(leaf_of(value) == leaf for value in values):
            np.stack(values, out=out.numpy())
        else:
            return False
    except (RuntimeError, ValueError, OverflowError):
        return False
    return True


def _lay(values: Sequence[Any], out: np.ndarray[Any, Any]) -> bool:
    """Write arrays one after the other, and return whether all are like the first."""
    first = values[0]
    if [value.dtype for value in values].count(first.dtype) < len(values):
        return False
    if [value.shape for value in values].count(first.shape) < len(values):
        return False
    # A third of the time of np.stack, which makes an array of one more axis of each.
    np.concatenate(values, out=out.reshape(len(values) * len(first), *first.shape[1:]))
    return True


def _unlike(samples: Sequence[Tree], layout: Layout, ids: Sequence[int]) -> UnlikeError:
    """Return the error for the first sample that is not what the layout says."""
    for sample, id_ in zip(samples, ids, strict=True):
        leaves = leaves_like(sample, layout.skeleton)
        what = "it is of another structure" if leaves is None else _difference(leaves, layout)
        if what:
            return UnlikeError(
                f"Sample {id_} is not like the others: {what}. Give all samples one shape, or "
                "join them with a collator of your own, or one such as collate='pad'."
            )
    return UnlikeError("Samples do not fit in one batch, though they look alike.")


def _difference(leaves: list[Any], layout: Layout) -> str | None:
    for value, leaf, name in zip(leaves, layout.leaves, layout.names(), strict=True):
        found = leaf_of(value)
        if found != leaf:
            told = type(value).__name__ if found is None else _told(found)
            return f"{name or 'it'} is {told}, not {_told(leaf)}"
    return None


def _told(leaf: Leaf) -> str:
    return f"{str(leaf.dtype).removeprefix('torch.')} {list(leaf.shape)}"
