"""Random draws that depend on what they are for, never on who asks or when.

Every draw is a pure function of (seed, epoch, segment key, stream), so that a sample gets the
same augmentation whatever its batch, worker, rank or resume point.

Source: the finaliser of SplitMix64 (Steele, Lea and Flood, 2014), as a counter-based generator.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

U64 = npt.NDArray[np.uint64]

_GAMMA = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF


def _finalise(x: U64) -> U64:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _finalise_int(x: int) -> int:
    """Return the same of one number: an operation of numpy takes ten times as long."""
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _MASK
    return x ^ (x >> 31)


def mix64(*values: int | U64) -> U64:
    """Return uint64 hashes of the values, broadcast against each other.

    Order matters: `mix64(a, b)` is not `mix64(b, a)`. Integers are taken modulo 2**64.
    """
    begin = num_first = 0
    for value in values:  # seed, epoch, stream: they come first, and are numbers
        if not isinstance(value, int):
            break
        begin = _finalise_int((begin + _GAMMA & _MASK) ^ (value & _MASK))
        num_first += 1
    state: U64 = np.asarray(begin, dtype=np.uint64)
    if num_first == len(values):
        return state[()]  # as numpy's operations return a single number
    with np.errstate(over="ignore"):
        for value in values[num_first:]:
            word = np.asarray(value & _MASK if isinstance(value, int) else value, dtype=np.uint64)
            state = _finalise(np.asarray(state + np.uint64(_GAMMA), dtype=np.uint64) ^ word)
    return state


def text_key(text: str) -> int:
    """Return a 64-bit key of a text, the same on every machine and Python version."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def keys_of(texts: Iterable[str]) -> U64:
    """Return `text_key` of each text as uint64 [N]."""
    return np.fromiter((text_key(text) for text in texts), dtype=np.uint64)


def uniform(*values: int | U64) -> npt.NDArray[np.float64]:
    """Return numbers in [0, 1) with 53 random bits, one for each hash of the broadcast values."""
    return np.asarray((mix64(*values) >> np.uint64(11)).astype(np.float64) * 2.0**-53)


def seed_everything(seed: int) -> None:
    """Seed Python, numpy and torch. Only model initialisation and dropout depend on it."""
    import torch

    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
