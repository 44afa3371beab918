"""Arrays of unlike length laid into one tensor, with their lengths and a mask.

Letters: B batch, A axes that are padded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from chirpid.data.collate.default import told_kind, unstackable
from chirpid.data.collate.fields import is_array
from chirpid.data.collate.tree import Path, path_text
from chirpid.errors import ConfigError, DataError


class Padded(NamedTuple):
    """Arrays of unlike length as one tensor. `DataLoader` pins and moves it as it does a tuple."""

    values: Tensor
    """[B, *shape], each axis that is padded as long as the longest asks for."""
    lengths: Tensor
    """int64 [B]: how much of each is real; [B, A] if several axes are padded."""
    mask: Tensor
    """bool [B, T], True where `values` is real; [B, T1, ..., TA] if several axes are padded."""
    num_cut: Tensor
    """int64, shaped as `lengths`: how much of each did not fit and was left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PadRule:
    """How arrays are made equally long."""

    axes: tuple[int, ...] = (0,)
    value: float = 0
    side: str = "right"
    multiple_of: int = 1
    length: int | None = None
    """Length of the result; None for the longest of the batch."""
    max_length: int | None = None
    keep: str = "start"
    on_long: str = "cut"

    def __post_init__(self) -> None:
        one_of("side", self.side, ("right", "left"))
        one_of("keep", self.keep, ("start", "centre", "end"))
        one_of("on_long", self.on_long, ("cut", "error"))
        if not self.axes or len(set(self.axes)) != len(self.axes):
            raise ConfigError(f"axes={list(self.axes)}: name each axis to pad once, as in axes=0.")
        check_bounds(self.multiple_of, length=self.length, max_length=self.max_length)

    @property
    def bound(self) -> int | None:
        """The most that fits; None for no bound."""
        return self.max_length if self.length is None else self.length

    def goal(self, longest: int) -> int:
        """Return how long a batch becomes whose longest is this long."""
        if self.length is not None:
            return self.length
        rounded = -(-longest // self.multiple_of) * self.multiple_of
        return rounded if self.max_length is None else min(rounded, self.max_length)

    def begin(self, spare: int) -> int:
        """Return where the kept part begins if `spare` must go."""
        return {"start": 0, "centre": spare // 2, "end": spare}[self.keep]


@dataclass(frozen=True, slots=True, kw_only=True)
class PadSettings:
    """What collators that pad arrays let users set."""

    value: float = 0
    """What stands where nothing is."""
    side: str = "right"
    """Where the padding goes: "right" or "left"."""
    multiple_of: int = 1
    """Lengths are rounded up to a multiple of it, as tensor cores, strided networks and the hop of
    a spectrogram like."""
    keep: str = "start"
    """What is kept of one that is too long: "start", "centre" or "end"."""
    on_long: str = "cut"
    """What happens to one that is too long: "cut", which `Padded.num_cut` counts, or "error"."""

    @property
    def fills(self) -> dict[str, float]:
        """What stands in the batch where a sample has nothing at all."""
        return {"values": self.value}

    def rule_of(
        self, axes: Sequence[int], *, length: int | None = None, max_length: int | None = None
    ) -> PadRule:
        """Return how lengths are made equal on these axes."""
        return PadRule(
            axes=tuple(axes),
            value=self.value,
            side=self.side,
            multiple_of=self.multiple_of,
            length=length,
            max_length=max_length,
            keep=self.keep,
            on_long=self.on_long,
        )


def pad(path: Path, values: Sequence[Any], rule: PadRule) -> Padded:
    """Return arrays (tensors, numpy, lists of numbers) as one padded tensor.

    Args:
        path: the way to them, for messages.
    Raises:
        DataError: they differ in more than the axes that are padded, or are too long for
            `on_long="error"`.
        ConfigError: their type cannot hold the padding value, or they lack an axis.
    """
    arrays = tensors_of(path, values)
    axes = _axes(path, arrays[0], rule)
    _check_alike(path, arrays, axes)
    whole_BA = torch.tensor([[array.shape[axis] for axis in axes] for array in arrays])
    _check_long(path, whole_BA, rule)
    shape, goal = list(arrays[0].shape), [rule.goal(int(most)) for most in whole_BA.amax(0)]
    for axis, length in zip(axes, goal, strict=True):
        shape[axis] = length
    lengths_BA = torch.minimum(whole_BA, torch.tensor(goal))
    out = _filled(path, [len(arrays), *shape], arrays, rule.value)
    for row, array, kept in zip(out, arrays, lengths_BA.tolist(), strict=True):
        _place(row, array, axes, kept, rule)
    mask, cut_BA = _mask(lengths_BA, goal, rule.side), whole_BA - lengths_BA
    if len(axes) == 1:
        return Padded(out, lengths_BA[:, 0], mask, cut_BA[:, 0])
    return Padded(out, lengths_BA, mask, cut_BA)


def tensors_of(path: Path, values: Sequence[Any]) -> list[Tensor]:
    """Return each value as a tensor; lists of numbers get the types that torch gives numbers.

    Raises:
        DataError: one makes none.
    """
    try:
        return [_tensor(value) for value in values]
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise unstackable(path, values, error) from error


def _tensor(value: Any) -> Tensor:
    if isinstance(value, Tensor):
        return value
    if isinstance(value, np.ndarray):
        # torch takes no backward strides, and warns of memory that it must not write to.
        plain = value.flags.writeable and not any(step < 0 for step in value.strides)
        return torch.from_numpy(value if plain else value.copy())
    if isinstance(value, (list, tuple)):
        # An empty list is one of token ids more often than of measured numbers.
        whole = all(isinstance(item, (int, np.integer)) for item in value)
        if value and all(isinstance(item, bool) for item in value):
            return torch.tensor(value)
        return torch.tensor(value, dtype=torch.int64 if whole else torch.float64)
    raise TypeError("neither an array nor a list of numbers")


def _axes(path: Path, array: Tensor, rule: PadRule) -> list[int]:
    dim = array.dim()
    if any(not -dim <= axis < dim for axis in rule.axes):
        raise ConfigError(
            f"axes={list(rule.axes)}, and {path_text(path)} is {told_kind(array)}: it has "
            f"{dim} of them. Name the leaves to pad in fields."
        )
    axes = [axis % dim for axis in rule.axes]
    if len(set(axes)) != len(axes):
        raise ConfigError(f"axes={list(rule.axes)} name one axis of {path_text(path)} twice.")
    return axes


def _check_alike(path: Path, arrays: list[Tensor], axes: list[int]) -> None:
    def fixed(array: Tensor) -> list[int]:
        return [size for axis, size in enumerate(array.shape) if axis not in axes]

    wanted = fixed(arrays[0])
    for n, array in enumerate(arrays):
        if array.dim() != arrays[0].dim() or fixed(array) != wanted:
            raise DataError(
                f"{path_text(path)} is {list(arrays[0].shape)} in sample 0 of the batch and "
                f"{list(array.shape)} in sample {n}: they differ beyond axis "
                f"{', '.join(map(str, axes))}, which is padded. Set axes to all that vary."
            )


def _check_long(path: Path, whole_BA: Tensor, rule: PadRule) -> None:
    if rule.on_long == "cut" or rule.bound is None or int(whole_BA.max()) <= rule.bound:
        return
    sample = int((whole_BA > rule.bound).any(1).nonzero()[0])
    raise DataError(
        f"{path_text(path)} is {int(whole_BA[sample].max())} long in sample {sample} of the batch, "
        f'{rule.bound} is the most. Raise it, or set on_long="cut".'
    )


def _filled(path: Path, shape: list[int], arrays: list[Tensor], value: float) -> Tensor:
    """Return a tensor full of the padding value, of the type that holds all arrays."""
    dtype = reduce(torch.promote_types, {array.dtype for array in arrays})
    whole = not dtype.is_floating_point and not dtype.is_complex
    info = torch.iinfo(dtype) if whole and dtype != torch.bool else None
    low, high = (info.min, info.max) if info else (0, 1)
    if whole and not (low <= value <= high and value == int(value)):
        raise ConfigError(f"value={value} is no {dtype}, which {path_text(path)} is. Take another.")
    return torch.full(shape, value, dtype=dtype, device=arrays[0].device)


def _place(row: Tensor, array: Tensor, axes: list[int], kept: list[int], rule: PadRule) -> None:
    for axis, length in zip(axes, kept, strict=True):
        if array.shape[axis] != length:
            array = array.narrow(axis, rule.begin(array.shape[axis] - length), length)
        row = row.narrow(axis, 0 if rule.side == "right" else row.shape[axis] - length, length)
    row.copy_(array)


def _mask(lengths_BA: Tensor, goal: list[int], side: str) -> Tensor:
    """Return where values are real, bool [B, T1, ..., TA]."""
    masks = []
    for place, length in enumerate(goal):
        shape = [1] * (len(goal) + 1)
        shape[place + 1] = length
        # By numpy, which compares a row with a column in an eighth of the time of torch.
        steps = np.arange(length, dtype=np.int32).reshape(shape)
        real = lengths_BA[:, place].numpy().astype(np.int32).reshape(-1, *[1] * len(goal))
        masks.append(steps < real if side == "right" else steps >= length - real)
    return torch.from_numpy(reduce(np.logical_and, masks))


def one_of(name: str, value: object, choices: Sequence[str]) -> None:
    """Check a setting against its choices.

    Raises:
        ConfigError: it is none of them.
    """
    if value not in choices:
        raise ConfigError(f"{name}={value} is unknown. Choices: {', '.join(choices)}.")


def at_least(name: str, value: int, least: int) -> None:
    """Check that a setting is a whole number that is not too small.

    Raises:
        ConfigError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name}={value} must be a whole number of at least {least}.")


def check_bounds(multiple_of: int, **bounds: int | None) -> None:
    """Check lengths, by the names that their settings have.

    Raises:
        ConfigError: one is below 1, or no multiple of what lengths are to be multiples of.
    """
    at_least("multiple_of", multiple_of, 1)
    for name, bound in bounds.items():
        if bound is None:
            continue
        at_least(name, bound, 1)
        if bound % multiple_of:
            raise ConfigError(
                f"{name}={bound} is no multiple of multiple_of={multiple_of}. "
                f"Take {name}={max(1, bound // multiple_of) * multiple_of}."
            )


def is_numbers(value: object) -> bool:
    """Return whether it is a list of numbers, which has a length as an array has."""
    return isinstance(value, list) and all(
        isinstance(item, (int, float, np.number)) for item in value
    )


def is_long(value: object) -> bool:
    """Return whether it has a length to pad: an array that is no single number, or a list."""
    return (is_array(value) and value.ndim > 0) or is_numbers(value)  # type: ignore[attr-defined]
