"""Batches of samples whose arrays vary in length: padded to the longest, or left as lists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from chirpid.data.collate.default import some, stack
from chirpid.data.collate.fields import check_field
from chirpid.data.collate.padding import PadRule, PadSettings, is_long, pad, tensors_of
from chirpid.data.collate.tree import Field, Path, collate_tree, path_of, path_text
from chirpid.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class PadCollator(PadSettings):
    """Pads arrays, each of which becomes a `Padded` in its place; the rest as `DefaultCollator`.

    Which leaves are padded depends on what samples are made of and never on their lengths, so
    that all batches are alike.
    """

    fields: Sequence[Field] | None = None
    """Leaves to pad; None for each array that is no single number and each list of numbers."""
    lists: Sequence[Field] = ()
    """Leaves to leave as lists of tensors, one for each sample."""
    axes: int | Sequence[int] = 0
    """Axes that vary, counted in a sample: 0 for [T] and [T, D], -1 for waveforms [C, T]."""
    max_length: int | None = None
    """The most that is kept of an axis."""

    def __post_init__(self) -> None:
        _ = self.rule
        for name in ("fields", "lists"):
            if isinstance(getattr(self, name), (str, int)):
                raise ConfigError(f"{name}={getattr(self, name)!r}: make it a list of fields.")
        both = set(map(path_of, self.fields or ())) & set(map(path_of, self.lists))
        if both:
            raise ConfigError(f"{path_text(both.pop())} is both in fields and in lists.")

    @property
    def rule(self) -> PadRule:
        """How lengths are made equal."""
        axes = [self.axes] if isinstance(self.axes, int) else self.axes
        return self.rule_of(axes, max_length=self.max_length)

    def __call__(self, samples: Sequence[Any]) -> Any:
        """Return the samples as one batch.

        Raises:
            DataError: no samples, no such field, or leaves that differ in more than their lengths.
        """
        some(samples)
        rule, lists = self.rule, set(map(path_of, self.lists))
        fields = None if self.fields is None else set(map(path_of, self.fields))
        for path in lists | (fields or set()):
            check_field(samples[0], path)

        def padded(path: Path, first: Any) -> bool:
            return is_long(first) if fields is None else path in fields

        def leaf(path: Path, values: Sequence[Any]) -> Any:
            if path in lists:
                return tensors_of(path, values)
            return pad(path, values, rule) if padded(path, values[0]) else stack(path, values)

        return collate_tree(
            samples, leaf, stop=lambda path, first: path in lists or padded(path, first)
        )
