"""Samples of one shape put together again from rows: tensors, arrays and plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from chirpid.data.general.columns import Columns, Layout, layout_of
from chirpid.data.general.trees import Tree, is_named_tuple, leaves_of
from chirpid.data.wrap.tables import builder, mapped

Parts = Callable[[Tensor], Sequence[Any]]
"""Takes a column apart: a leaf for each row."""


@dataclass(frozen=True, slots=True)
class Form:
    """What each sample of a dataset is, and how samples are made from rows."""

    layout: Layout
    structure: Tree
    """A sample without its leaves."""
    parts: tuple[Parts, ...]
    build: Callable[[Sequence[Any]], Tree] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "build", builder(self.structure))

    def samples(self, rows: Columns) -> list[Tree]:
        """Return samples of the types that the dataset gives, in the memory of the rows."""
        columns = [parts(column) for parts, column in zip(self.parts, rows.tensors, strict=True)]
        return list(map(self.build, zip(*columns, strict=True)))

    def __reduce__(self) -> Any:
        return Form, (self.layout, self.structure, self.parts)


def form_of(*samples: Tree) -> Form | None:
    """Return what all samples are; None if they differ, or could not be made from tensors again."""
    layout = layout_of(samples)
    if layout is None or not all(map(_is_plain, samples)):
        return None
    parts = [tuple(_parts(leaf) for leaf in leaves_of(sample)) for sample in samples]
    if any(other != parts[0] for other in parts):
        return None
    structure = mapped(samples[0], lambda _: None)  # the leaves may be large
    return Form(layout, structure, parts[0])  # type: ignore[arg-type]


def _is_plain(tree: Tree) -> bool:
    """Return whether all containers and leaves are of the types that are made again."""
    if type(tree) is dict:
        return all(map(_is_plain, tree.values()))
    if type(tree) in (list, tuple) or is_named_tuple(tree):
        return all(map(_is_plain, tree))
    return _parts(tree) is not None


def _parts(leaf: Any) -> Parts | None:
    if type(leaf) is Tensor:
        return _tensors if leaf.is_cpu and not leaf.requires_grad else None
    if isinstance(leaf, np.generic) or (type(leaf) is np.ndarray and leaf.ndim):
        return _arrays
    return _numbers if type(leaf) in (bool, int, float) else None


def _tensors(column: Tensor) -> Sequence[Tensor]:
    return column.unbind(0)


def _arrays(column: Tensor) -> Sequence[Any]:
    return list(column.numpy())  # of a column of single numbers: numpy's numbers


def _numbers(column: Tensor) -> list[Any]:
    return column.tolist()
