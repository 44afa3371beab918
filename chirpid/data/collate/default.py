"""Batches of samples of fixed shape: what torch's default collation gives, in fewer steps.

Arrays are laid end to end by one call and numbers go through numpy, where torch makes a tensor of
each array and looks at each number. Anything unusual goes to torch itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate, get_worker_info

from chirpid.data.collate.tree import LeafCollate, Path, at, collate_tree, path_text
from chirpid.errors import DataError

Collator = Callable[[Sequence[Any]], Any]
"""A list of samples in, one batch out."""

_NUMBERS = {int: np.int64, float: np.float64, bool: np.bool_}
_SHARED_BYTES = 2**20
"""From here on, in a worker process, torch lays a batch of arrays into shared memory itself, which
spares it a second copy."""


@dataclass(frozen=True, slots=True)
class DefaultCollator:
    """Collates as `torch.utils.data.default_collate` does, to the bit and to the type."""

    def __call__(self, samples: Sequence[Any], *, out: Any = None) -> Any:
        """Return the samples as one batch.

        Args:
            out: an earlier batch of samples like these, at least as many, that is no longer
                needed: its memory is written over and the batch is a view of it. That spares
                large batches the page faults of fresh memory.
        Raises:
            DataError: no samples, shapes that differ, something that makes no batch, or an `out`
                of another shape or type.
        """
        some(samples)
        if out is None:
            return collate_tree(samples, stack)
        return collate_tree(samples, lambda path, values: stack(path, values, _at(out, path)))


def some(samples: Sequence[Any]) -> None:
    """Check that there is something to collate.

    Raises:
        DataError: there is not.
    """
    if len(samples) == 0:
        raise DataError("A batch of no samples was to be collated. Check the sampler: it gave [].")


def collate_fields(samples: Sequence[Any], special: Mapping[Path, LeafCollate]) -> Any:
    """Return the samples as one batch, in which some leaves are made their own way."""
    return collate_tree(
        samples,
        lambda path, values: special.get(path, stack)(path, values),
        stop=lambda path, _: path in special,
    )


def stack(path: Path, values: Sequence[Any], out: Any = None) -> Any:
    """Return what the samples have at one leaf as one tensor; texts as they are.

    Raises:
        DataError: they make none; it says which leaf, and what is there.
    """
    if isinstance(values[0], (str, bytes)):
        return values
    rows = None if out is None else _rows(path, values, out)
    try:
        return _stack(values, rows)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise unstackable(path, values, error) from error


def _stack(values: Sequence[Any], out: Tensor | None) -> Tensor:
    kind = type(values[0])
    made: Tensor
    if kind is Tensor:
        if out is not None:
            return _into(values, out)
        if get_worker_info() is None:
            return torch.stack(tuple(values))
        made = default_collate(list(values))  # it lays them into shared memory
    elif issubclass(kind, np.ndarray) and _is_plain(values):
        return _laid(values, out)
    elif kind in _NUMBERS and set(map(type, values)) == {kind}:
        made = torch.from_numpy(np.array(values, dtype=_NUMBERS[kind]))
    elif issubclass(kind, (np.number, np.bool_)) and set(map(type, values)) == {kind}:
        made = torch.from_numpy(np.array(values))
    else:
        made = default_collate(list(values))
    return made if out is None else out.copy_(made)


def _into(values: Sequence[Tensor], out: Tensor) -> Tensor:
    # torch would convert another type without a word.
    if [value.dtype for value in values].count(out.dtype) != len(values):
        raise TypeError(f"not all are {_name(out.dtype)}")
    torch.stack(tuple(values), out=out)
    return out


def _is_plain(values: Sequence[Any]) -> bool:
    """Return whether the arrays are of one shape and one type that need no thought."""
    first = values[0]
    kinds = set(map(type, values))
    if not kinds <= {np.ndarray, np.memmap} or first.dtype.kind not in "biufc":
        return False
    if [value.dtype for value in values].count(first.dtype) != len(values):
        return False
    if not first.dtype.isnative or [v.shape for v in values].count(first.shape) != len(values):
        return False
    return get_worker_info() is None or first.nbytes * len(values) < _SHARED_BYTES


def _laid(values: Sequence[Any], out: Tensor | None) -> Tensor:
    """Return arrays of one shape and type as one tensor [B, *shape]."""
    shape = values[0].shape
    if not shape:
        made = torch.from_numpy(np.array(values))
        return made if out is None else out.copy_(made)
    if out is not None and not (out.is_cpu and out.is_contiguous()):
        return out.copy_(_laid(values, None))
    if out is None:
        return torch.from_numpy(np.concatenate(values).reshape(len(values), *shape))
    np.concatenate(values, out=out.view(len(values) * shape[0], *shape[1:]).numpy())
    return out


def _at(out: Any, path: Path) -> Any:
    """Return what an earlier batch has at a leaf.

    Raises:
        DataError: it has none.
    """
    try:
        return at(out, path)
    except LookupError as error:
        raise DataError(
            f"out has nothing at {path_text(path)}. Pass a batch of samples like these."
        ) from error


def _rows(path: Path, values: Sequence[Any], out: Any) -> Tensor:
    """Return the rows of `out` that the batch is to fill.

    Raises:
        DataError: `out` is no tensor, has too few rows, or is of another shape or type.
    """
    wanted = _spec(values[0])
    if isinstance(out, Tensor) and len(out) >= len(values):
        if wanted in (None, (out.dtype, tuple(out.shape[1:]))):
            return out[: len(values)]
        found = f"{_name(out.dtype)} {list(out.shape[1:])}"
    else:
        found = f"{len(out)} rows" if isinstance(out, Tensor) else type(out).__name__
    have = "" if wanted is None else f" of {_name(wanted[0])} {list(wanted[1])}"
    raise DataError(
        f"out holds {found} at {path_text(path)}, and the batch is {len(values)} rows{have}. Pass "
        "a batch of samples like these, at least as many."
    )


def _spec(value: Any) -> tuple[torch.dtype, tuple[int, ...]] | None:
    """Return type and shape of what the value is in a batch; None where torch must say."""
    kinds: dict[type, torch.dtype] = {int: torch.int64, float: torch.float64, bool: torch.bool}
    if isinstance(value, Tensor):
        return value.dtype, tuple(value.shape)
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind in "biufc":
        return torch.from_numpy(np.empty(0, value.dtype.newbyteorder("="))).dtype, value.shape
    return (kinds[type(value)], ()) if type(value) in kinds else None


def unstackable(path: Path, values: Sequence[Any], error: Exception) -> DataError:
    """Return the error for leaves that make no tensor: which, what they are, what to do."""
    where = path_text(path)
    for describe, what in ((_kind, "is"), (_shape, "has shape")):
        told = [describe(value) for value in values]
        odd = next((n for n, each in enumerate(told) if each != told[0]), None)
        if odd is not None:
            advice = (
                "default pads nothing: resize it in the dataset, or take "
                'collate="pad", which pads to the longest and gives lengths and a mask.'
                if describe is _shape
                else "Return the same kind for each sample."
            )
            return DataError(
                f"{where} {what} {told[0]} in sample 0 of the batch and {told[odd]} in sample "
                f"{odd} ({len(set(told))} of them in {len(values)} samples). {advice}"
            )
    said = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return DataError(
        f"{where} is {told_kind(values[0])}, which makes no tensor ({type(error).__name__}: "
        f"{said}). Convert it in the dataset, or register a collator for it."
    )


def told_kind(value: Any) -> str:
    """Return what a value is, for people: "float32 [3, 32]", "str", "NoneType"."""
    if isinstance(value, (Tensor, np.ndarray)):
        return f"{_name(value.dtype)} {list(value.shape)}"
    return type(value).__name__


def _kind(value: Any) -> str:
    if isinstance(value, Tensor):
        return "a tensor"
    return "an array" if isinstance(value, np.ndarray) else type(value).__name__


def _shape(value: Any) -> str:
    return str(list(value.shape)) if isinstance(value, (Tensor, np.ndarray)) else ""


def _name(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
