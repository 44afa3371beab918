"""What a user gives to a sampler, checked and frozen: ids, weights, lengths, whole numbers."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from chirpid.errors import ConfigError, DataError, did_you_mean
from chirpid.types import FloatArray, IntArray

S = TypeVar("S", bound=np.generic)


def ids_of(items: int | npt.ArrayLike) -> IntArray:
    """Return the ids of items, int64 [n]: 0 to `items` - 1, or those that are given.

    Raises:
        ConfigError: a number of items below 0.
        DataError: ids are not whole numbers from 0 on, or one comes twice.
    """
    if np.ndim(items) == 0:
        return frozen(np.arange(whole("items", items, least=0)))
    id_N = whole_numbers("ids", items)
    ascending = np.sort(id_N)
    twice = ascending[1:][ascending[1:] == ascending[:-1]]
    if len(twice):
        raise DataError(f"Id {twice[0]} comes twice. Give each once; weights repeat items.")
    return id_N


def lengths_of(lengths: npt.ArrayLike, ids: npt.ArrayLike | None) -> tuple[IntArray, IntArray]:
    """Return the ids of items and the length of each, int64 [n] each.

    Args:
        lengths: of all items of the set, in elements.
        ids: the items that are used; None: all.
    Raises:
        DataError: lengths or ids are not whole numbers from 0 on, or an id has no length.
    """
    length_N = whole_numbers("lengths", lengths)
    if ids is None:
        return ids_of(len(length_N)), length_N
    id_N = ids_of(whole_numbers("ids", ids))
    if len(id_N) and id_N.max() >= len(length_N):
        raise DataError(f"Id {id_N.max()} has no length: there are {len(length_N)}. Give all.")
    return id_N, frozen(length_N[id_N])


def weights_of(weights: npt.ArrayLike) -> FloatArray:
    """Return weights as float64 [N], scaled so that the largest is 1.

    Raises:
        ConfigError: a weight is negative, infinite or not a number, or none is above 0.
    """
    given = np.asarray(weights)
    if given.ndim != 1 or given.dtype.kind not in "biuf":
        raise ConfigError(f"weights are {shown(given)}. Give one number for each item.")
    weight_N = given.astype(np.float64)
    bad = np.flatnonzero(~(np.isfinite(weight_N) & (weight_N >= 0)))
    if len(bad):
        raise ConfigError(f"The weight of item {bad[0]} is {weight_N[bad[0]]}. Use 0 or more.")
    if not weight_N.any():
        raise ConfigError(f"None of {len(weight_N)} weights is above 0. Give one that is.")
    # Sums of huge weights would overflow.
    return frozen(weight_N / weight_N.max())


def whole_numbers(name: str, values: npt.ArrayLike) -> IntArray:
    """Return values as int64 [n], a frozen copy.

    Raises:
        DataError: they are not whole numbers from 0 on, in one dimension.
    """
    given = np.asarray(values)
    if given.ndim != 1 or (given.size and given.dtype.kind not in "iu"):
        raise DataError(f"{name} are {shown(given)}. Give one whole number for each item.")
    numbers = given.astype(np.int64)
    bad = np.flatnonzero(numbers < 0)
    if len(bad):
        raise DataError(f"{name}[{bad[0]}] is {numbers[bad[0]]}. Use whole numbers from 0 on.")
    return frozen(numbers)


def whole(name: str, value: Any, *, least: int = 1) -> int:
    """Return a whole number that is at least `least`.

    Raises:
        ConfigError: it is not.
    """
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ConfigError(f"{name} is {value!r}. Use a whole number of {least} or more.")
    return number


def one_of(name: str, value: str, choices: Sequence[str]) -> None:
    """Check a choice.

    Raises:
        ConfigError: it is not one of those there are.
    """
    if value not in choices:
        hint = did_you_mean(str(value), list(choices))
        raise ConfigError(f"{name} is {value!r}.{hint} Choices: {', '.join(choices)}.")


def frozen(array: npt.NDArray[S]) -> npt.NDArray[S]:
    """Return the array, which can no longer be changed."""
    array.setflags(write=False)
    return array


def shown(array: npt.NDArray[Any]) -> str:
    """Return what an array is: "float64[3, 2]"."""
    return f"{array.dtype}{list(array.shape)}"


def assign(frozen_value: Any, **values: Any) -> None:
    """Set fields of a frozen dataclass while it is made."""
    for name, value in values.items():
        object.__setattr__(frozen_value, name, value)
