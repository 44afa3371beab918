"""Samples of one shape into the rows of a batch, a column at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.data.general.columns import Columns, Layout, leaf_of
from chirpid.data.general.trees import Skeleton, Tree, leaves_of, skeleton_of
from chirpid.errors import DataError

Collate = Callable[[list[Any]], Any]
"""Makes a batch of samples."""

PYTHON_NUMBERS = (bool, int, float)


def fill(samples: Sequence[Tree], layout: Layout, out: Columns) -> None:
    """Write sample i into row i of `out`, which has as many rows.

    Raises:
        DataError: a sample is not what the layout says. Nothing is converted: what torch's collate
            would turn into another number type, or refuse, is refused here.
    """
    if not samples:
        return
    columns = columns_of(samples, layout.skeleton)
    for leaf, values, to in zip(layout.leaves, columns, out.tensors, strict=True):
        first = values[0]
        try:
            if isinstance(first, Tensor):
                ok = all(isinstance(v, Tensor) and v.dtype is leaf.dtype for v in values)
                if ok and first.shape == leaf.shape:
                    with torch.no_grad():
                        torch.stack(tuple(values), out=to)
                    continue
            elif type(first) in PYTHON_NUMBERS:
                kind = type(first)
                if all(type(v) is kind for v in values) and leaf_of(first) == leaf:
                    to.numpy()[...] = values
                    continue
            elif all(leaf_of(v) == leaf for v in values):
                np.stack(values, out=to.numpy())
                continue
        except (RuntimeError, ValueError, OverflowError):
            pass  # which sample it is, is looked up below
        raise _other(samples, layout)


def columns_of(samples: Sequence[Tree], skeleton: Skeleton) -> list[Sequence[Any]]:
    """Return the values of each leaf, over the samples.

    Raises:
        DataError: a sample has another structure.
    """
    if skeleton.is_flat:
        return _flat_columns(samples, skeleton)
    rows = []
    for sample in samples:
        if not fits(sample, skeleton):
            raise _other_structure(sample, skeleton)
        rows.append(leaves_of(sample))
    return list(zip(*rows, strict=True))


def fits(sample: Tree, skeleton: Skeleton) -> bool:
    """Return whether a sample has this structure; the order of a mapping's keys does not count."""
    found = skeleton_of(sample)
    return found == skeleton


def _flat_columns(samples: Sequence[Tree], skeleton: Skeleton) -> list[Sequence[Any]]:
    kind, size = skeleton.kind, len(skeleton.parts)
    if kind is None:
        return [samples]
    if issubclass(kind, Mapping):
        keys = skeleton.keys
        for sample in samples:
            if not isinstance(sample, Mapping) or len(sample) != size:
                raise _other_structure(sample, skeleton)
        try:
            return [[sample[key] for sample in samples] for key in keys]
        except KeyError:
            raise _other_structure(
                next(s for s in samples if any(key not in s for key in keys)), skeleton
            ) from None
    for sample in samples:
        if not isinstance(sample, Sequence) or len(sample) != size:
            raise _other_structure(sample, skeleton)
    return list(zip(*samples, strict=True))


def _other(samples: Sequence[Tree], layout: Layout) -> DataError:
    """Return the error for the first sample that is not what the layout says."""
    names = layout.names()
    columns = columns_of(samples, layout.skeleton)
    for place in range(len(samples)):
        for leaf, values, name in zip(layout.leaves, columns, names, strict=True):
            found = leaf_of(values[place])
            if found != leaf:
                what = _told(found) if found else type(values[place]).__name__
                where = f"'{name}' of a sample" if name else "A sample"
                return DataError(
                    f"{where} is {what}, of the samples looked at first it is {_told(leaf)}. "
                    "Make them alike, or pass collate='pad' or a collator of your own."
                )
    return DataError("Samples do not fit in their batch, though they look alike.")


def _told(leaf: Any) -> str:
    shape = "×".join(map(str, leaf.shape)) or "a number"
    return f"{shape} of {str(leaf.dtype).removeprefix('torch.')}"


def _other_structure(sample: Tree, skeleton: Skeleton) -> DataError:
    return DataError(
        f"A sample is {_outline(skeleton_of(sample))}, those looked at first are "
        f"{_outline(skeleton)}. Make them alike, or pass a collator of your own."
    )


def _outline(skeleton: Skeleton) -> str:
    if skeleton.kind is None:
        return "a single value"
    names = skeleton.names()
    kind = "values" if skeleton.kind is list else skeleton.kind.__name__
    return f"{kind} ({', '.join(names[:6])}{', …' if len(names) > 6 else ''})"
