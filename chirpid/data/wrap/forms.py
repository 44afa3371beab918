"""Samples of one shape put together again from rows: tensors, arrays and plain numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.data.general.columns import Layout, layout_of
from chirpid.data.general.trees import Tree, is_named_tuple, leaves_of
from chirpid.data.wrap.tables import builder, mapped

Change = Callable[[Tensor], Any]


@dataclass(frozen=True, slots=True)
class Form:
    """What each sample of a dataset is, and how it is made from its row."""

    layout: Layout
    structure: Tree
    """A sample without its leaves."""
    changes: tuple[Change, ...]
    """What makes each leaf of a tensor."""
    build: Callable[[Sequence[Any]], Tree] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "build", builder(self.structure))

    def sample(self, leaves: Sequence[Tensor]) -> Tree:
        """Return a sample with these leaves, of the types that the dataset gives."""
        return self.build([change(leaf) for change, leaf in zip(self.changes, leaves, strict=True)])

    def __reduce__(self) -> Any:
        return Form, (self.layout, self.structure, self.changes)


def form_of(*samples: Tree) -> Form | None:
    """Return what all samples are; None if they differ, or could not be made from tensors again."""
    layout = layout_of(samples)
    if layout is None or not all(map(_is_plain, samples)):
        return None
    changes = [tuple(_change(leaf) for leaf in leaves_of(sample)) for sample in samples]
    if None in changes[0] or any(other != changes[0] for other in changes):
        return None
    structure = mapped(samples[0], lambda _: None)  # the leaves may be large
    return Form(layout, structure, changes[0])  # type: ignore[arg-type]


def _is_plain(tree: Tree) -> bool:
    """Return whether all containers are of the types that are made again."""
    if type(tree) is dict:
        return all(map(_is_plain, tree.values()))
    if type(tree) in (list, tuple) or is_named_tuple(tree):
        return all(map(_is_plain, tree))
    return _change(tree) is not None


def _change(leaf: Any) -> Change | None:
    if type(leaf) is Tensor:
        return _same if leaf.is_cpu and not leaf.requires_grad else None
    if type(leaf) is np.ndarray:
        return torch.Tensor.numpy
    if isinstance(leaf, np.generic):
        return _scalar
    return torch.Tensor.item if type(leaf) in (bool, int, float) else None


def _same(leaf: Tensor) -> Tensor:
    return leaf


def _scalar(leaf: Tensor) -> Any:
    return leaf.numpy()[()]
