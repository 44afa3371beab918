"""What users hold their samples in, as tensors of equal length in the same structure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from chirpid.data.general.columns import Columns, leaf_of
from chirpid.data.general.trees import Tree, is_named_tuple, is_sequence, leaves_of, skeleton_of
from chirpid.errors import DataError

MOST_NAMED = 5
"""Columns that a message names before it counts the rest."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns of one length."""

    tree: Tree
    """Tensors [N, ...] in the structure of a sample."""
    read_only: tuple[bool, ...]
    """Whether the memory of each is not to be written to."""


def table_of(data: Any) -> Table:
    """Return columns as tensors, in the structure that they came in and in the same memory.

    Args:
        data: tensors or arrays of numbers [N, ...], in tuples, lists and mappings as deep as
            anyone likes; a list of plain numbers; torch's `TensorDataset`; a DataFrame or a
            Series of pandas. Read-only arrays stay where they are, too.

    Raises:
        DataError: a column holds no numbers, lies on another device or has no rows; or the
            columns differ in length.
    """
    tree = _opened(data)
    tensors = mapped(tree, _tensor)
    columns = dict(zip(skeleton_of(tree).names(), leaves_of(tensors), strict=True))
    bad = [f"{name or 'data'} is {leaf}" for name, leaf in columns.items() if isinstance(leaf, str)]
    if bad or not columns:
        raise DataError(
            "Columns are numbers in memory of the CPU, a row for each sample; here "
            f"{_listed(bad) or 'are none'}. Convert what is none, or leave it out."
        )
    if len({len(column) for column in columns.values()}) > 1:
        rows = [f"{name} has {len(column)}" for name, column in columns.items()]
        raise DataError(f"Columns have a row for each sample; here {_listed(rows)}.")
    return Table(tensors, tuple(is_read_only(leaf) for leaf in leaves_of(tree)))


def _listed(texts: list[str]) -> str:
    more = len(texts) - MOST_NAMED
    return ", ".join(texts[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def builder(tree: Tree) -> Callable[[Sequence[Any]], Tree]:
    """Return what makes a sample of the structure of `tree` from its leaves."""
    if isinstance(tree, Mapping):
        keys = tuple(tree)
        if not any(map(_is_container, tree.values())):
            return lambda leaves: dict(zip(keys, leaves, strict=True))
    elif type(tree) in (tuple, list):
        if not any(map(_is_container, tree)):
            return type(tree)
    elif not _is_container(tree):
        return lambda leaves: leaves[0]

    def build(leaves: Sequence[Any]) -> Tree:
        rest = iter(leaves)
        return mapped(tree, lambda _: next(rest))

    return build


def _is_container(value: object) -> bool:
    return isinstance(value, Mapping) or is_sequence(value)


def mapped(tree: Tree, change: Callable[[Any], Any]) -> Tree:
    """Return the structure with `change(leaf)` for each leaf; tuples stay tuples."""
    if isinstance(tree, Mapping):
        return {key: mapped(value, change) for key, value in tree.items()}
    if is_named_tuple(tree):
        return type(tree)(*(mapped(value, change) for value in tree))
    if is_sequence(tree):
        values = [mapped(value, change) for value in tree]
        return tuple(values) if isinstance(tree, tuple) else values
    return change(tree)


def is_one(index: Any) -> bool:
    """Return whether an index is the number of a sample, and not several."""
    return not hasattr(index, "__len__") or getattr(index, "ndim", 1) == 0


def is_read_only(leaf: object) -> bool:
    """Return whether a column may be read but not written to."""
    return isinstance(leaf, np.ndarray) and not leaf.flags.writeable


def _opened(data: Any) -> Tree:
    """Return containers of other libraries as plain ones, and lists of numbers as arrays."""
    if isinstance(data, TensorDataset):
        return data.tensors
    if isinstance(data, Columns):
        return data.tree()
    if isinstance(data, pd.Series):
        return data.to_numpy()
    if isinstance(data, pd.DataFrame):
        if data.columns.has_duplicates:
            twice = data.columns[data.columns.duplicated()].tolist()
            raise DataError(f"Columns must have names of their own; found twice: {twice}.")
        return {name: column.to_numpy() for name, column in data.items()}
    if isinstance(data, Mapping):
        return {key: _opened(value) for key, value in data.items()}
    if is_named_tuple(data):
        return type(data)(*map(_opened, data))
    if is_sequence(data):
        if data and all(isinstance(value, int | float | np.number) for value in data):
            return np.asarray(data)
        values = [_opened(value) for value in data]
        return tuple(values) if isinstance(data, tuple) else values
    return data


def _tensor(leaf: Any) -> Tensor | str:
    """Return a column as a tensor, or what is wrong with it."""
    if not isinstance(leaf, Tensor | np.ndarray):
        return type(leaf).__name__
    if isinstance(leaf, Tensor) and not leaf.is_cpu:
        return f"on {leaf.device}"
    if leaf_of(leaf) is None:
        return str(leaf.dtype) if isinstance(leaf, np.ndarray) else str(leaf.layout)
    if not leaf.ndim:
        return "a single number"
    if isinstance(leaf, np.ndarray):
        return _shared(leaf)
    return leaf.detach().as_subclass(Tensor).resolve_conj().resolve_neg()


def _shared(array: np.ndarray[Any, Any]) -> Tensor:
    """Return a tensor in the memory of an array."""
    if any(stride < 0 or stride % array.itemsize for stride in array.strides):
        return torch.from_numpy(np.ascontiguousarray(array))  # torch has no such strides
    if array.flags.writeable:
        return torch.from_numpy(array)
    return torch.from_numpy(np.asarray(_Writeable(array)))


class _Writeable:
    """An array that numpy takes for writeable: torch warns of others, and here nobody writes."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array  # its memory is in use as long as this is
        described = array.__array_interface__
        self.__array_interface__ = {**described, "data": (described["data"][0], False)}
