"""Nested samples taken apart into leaves, and batches put together from them.

The structure of a batch is what `torch.utils.data.default_collate` makes of such samples: mappings
and named tuples stay what they are, other tuples and sequences become lists.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Tree = Any
"""Leaves inside dicts, lists, tuples and named tuples, as deep as anyone likes."""


@dataclass(frozen=True, slots=True)
class Skeleton:
    """The structure of a sample without its leaves."""

    kind: type | None = None
    """Type of a mapping or a named tuple, `list` for other sequences, None for a leaf. `tuple` only
    where a batch is to stay as it was made."""
    keys: tuple[Any, ...] = ()
    """Of a mapping, in the order of its leaves."""
    parts: tuple[Skeleton, ...] = ()
    is_flat: bool = field(init=False, compare=False, repr=False)
    """All parts are leaves: there is no need to look deeper."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "is_flat", all(part.kind is None for part in self.parts))

    @property
    def num_leaves(self) -> int:
        return 1 if self.kind is None else sum(part.num_leaves for part in self.parts)

    def rebuild(self, leaves: Sequence[Any]) -> Tree:
        """Return the structure with these leaves, which come in the order of `leaves_of`."""
        if self.kind is None:
            return leaves[0]
        if self.is_flat:
            return self._holding(leaves)
        rest = iter(leaves)
        return self._filled(rest)

    def _filled(self, leaves: Iterator[Any]) -> Tree:
        if self.kind is None:
            return next(leaves)
        return self._holding([part._filled(leaves) for part in self.parts])

    def _holding(self, values: Sequence[Any]) -> Tree:
        if self.kind is list:
            return list(values)
        if self.kind is tuple:
            return tuple(values)
        if self.kind is dict:
            return dict(zip(self.keys, values, strict=True))
        assert self.kind is not None
        if issubclass(self.kind, Mapping):
            return _mapping(self.kind, dict(zip(self.keys, values, strict=True)))
        return self.kind(*values)

    def names(self, prefix: str = "") -> list[str]:
        """Return what to call each leaf in messages: "image", "boxes[0]", or "" for a lone leaf."""
        if self.kind is None:
            return [prefix]
        labels = self.keys or getattr(self.kind, "_fields", ())
        named = []
        for place, part in enumerate(self.parts):
            if labels:
                name = f"{prefix}.{labels[place]}" if prefix else str(labels[place])
            else:
                name = f"{prefix}[{place}]"
            named += part.names(name)
        return named


LEAF = Skeleton()


def skeleton_of(sample: Tree, *, keeps_tuples: bool = False) -> Skeleton:
    """Return the structure of a sample.

    Args:
        keeps_tuples: tuples stay such, as in batches that a collator made.
    """

    def of_part(part: Tree) -> Skeleton:
        return skeleton_of(part, keeps_tuples=keeps_tuples)

    if isinstance(sample, Mapping):
        return Skeleton(type(sample), tuple(sample), tuple(of_part(sample[key]) for key in sample))
    if is_named_tuple(sample):
        return Skeleton(type(sample), (), tuple(map(of_part, sample)))
    if is_sequence(sample):
        kind = tuple if keeps_tuples and type(sample) is tuple else list
        return Skeleton(kind, (), tuple(map(of_part, sample)))
    return LEAF


def leaves_of(sample: Tree) -> list[Any]:
    """Return the leaves of a sample, from left to right."""
    if isinstance(sample, Mapping):
        return [leaf for value in sample.values() for leaf in leaves_of(value)]
    if is_sequence(sample):
        return [leaf for value in sample for leaf in leaves_of(value)]
    return [sample]


def map_leaves(sample: Tree, change: Any, *, keeps_tuples: bool = False) -> Tree:
    """Return the sample with `change(leaf)` in the place of each leaf."""
    skeleton = skeleton_of(sample, keeps_tuples=keeps_tuples)
    return skeleton.rebuild([change(leaf) for leaf in leaves_of(sample)])


def is_named_tuple(value: object) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def is_sequence(value: object) -> bool:
    """Return whether a value holds others in order; texts and bytes are leaves."""
    return isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray)


def _mapping(kind: type, values: dict[Any, Any]) -> Tree:
    try:
        return kind(values)
    except TypeError:  # one that cannot be made from a dict, as torch's own collate has it
        return values
