"""Samples held out for validation: which ones is a pure function of seed, number, groups, labels.

Letters: N samples, G groups, C classes.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from chirpid.data.balance import deal, one_holdout, share_out, unit_keys
from chirpid.data.samplers.checks import ids_of, whole
from chirpid.errors import ConfigError, DataError
from chirpid.seeds import U64, mix64
from chirpid.types import IntArray

Mask = np.ndarray[Any, np.dtype[np.bool_]]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Which samples are trained on and which are held out, int64 each."""

    train_N: IntArray
    val_N: IntArray
    kind: str
    """For people: "20% held out by seed 0"."""

    def fingerprint(self) -> str:
        """Return 16 hex digits, equal for the same samples on the same sides."""
        digest = hashlib.sha256(b"chirpid split 1")
        for ids in (self.train_N, self.val_N):
            digest.update(f"{len(ids)} ".encode())
            digest.update(np.ascontiguousarray(ids, dtype="<i8").tobytes())
        return digest.hexdigest()[:16]


def given_split(split: Any, num_samples: int) -> Split:
    """Return a split that the user names: the ids to train on, and those to validate.

    Raises:
        ConfigError: it is no pair, or a side has no ids.
        DataError: an id is no id of a sample, comes twice, or is on both sides.
    """
    if not isinstance(split, tuple | list) or len(split) != 2:
        raise ConfigError("split is no pair. Give (ids to train on, ids to validate).")
    train_N, val_N = (ids_of(np.asarray(side)) for side in split)
    if not len(train_N) or not len(val_N):
        side = "train on" if not len(train_N) else "validate"
        raise ConfigError(f"split has no ids to {side}. Give some, or val_fraction=0.")
    for ids in (train_N, val_N):
        if ids.max() >= num_samples:
            raise DataError(f"split names sample {ids.max()}, and there are {num_samples} from 0.")
    both = np.intersect1d(train_N, val_N)
    if len(both):
        raise DataError(
            f"split has {len(both)} samples on both sides, as {both[0]}: a score on what was "
            "trained on says nothing. Take them out of one."
        )
    return Split(train_N, val_N, "given")


def hold_out(
    num_samples: int,
    fraction: float,
    *,
    seed: int,
    group_N: pd.Series[Any] | None = None,
    label_N: pd.Series[Any] | None = None,
) -> Split:
    """Return about a fraction of the samples held out, at least one and never all.

    Without groups, those whose hash of (seed, number) comes first; with labels, of each class, at
    least one of each that has two. With groups, whole groups: those whose hash of (seed, name)
    comes first, as near to the fraction as they come; with labels too, so that classes keep their
    shares. The order of the samples does not decide which groups are held out.

    Args:
        group_N: what must not be on both sides.
        label_N: the class of each sample.

    Raises:
        ConfigError: the fraction is not between 0 and 1.
        DataError: there are too few samples or groups for two sides.
    """
    whole("seed", seed, least=0)
    if not 0 < fraction < 1:
        raise ConfigError(f"val_fraction={fraction} is out of range. Use 0 to 1, both left out.")
    _check_enough(num_samples, group_N)
    if group_N is None:
        held_N = _single(num_samples, fraction, seed, label_N)
        kind = f"{fraction:.0%} held out by seed {seed}"
    else:
        held_N = _grouped(group_N, fraction, seed, label_N)
        kind = f"{fraction:.0%} held out by seed {seed} in whole groups"
    if not held_N.any():
        raise DataError(
            f"Each of {num_samples} samples is of a class of its own, so none can be held out of "
            "its class. Leave stratify out."
        )
    kind += "" if label_N is None else ", of each class"
    return Split(np.flatnonzero(~held_N), np.flatnonzero(held_N), kind)


def _check_enough(num_samples: int, group_N: pd.Series[Any] | None) -> None:
    how = "Give val=..., or val_fraction=0 for no validation."
    if num_samples < 2:
        raise DataError(f"{num_samples} sample cannot be split into two sides. {how}")
    if group_N is not None and group_N.nunique() < 2:
        raise DataError(
            f"All {num_samples} samples are of one group, {group_N.tolist()[0]!r}, which cannot be "
            f"on both sides. {how}"
        )


def _single(num_samples: int, fraction: float, seed: int, label_N: pd.Series[Any] | None) -> Mask:
    class_N = np.zeros(num_samples, np.int64) if label_N is None else pd.factorize(label_N)[0]
    key_N = mix64(seed, np.arange(num_samples, dtype=np.uint64))
    return np.asarray(deal(class_N.astype(np.int64), key_N, one_holdout(fraction)) == 0)


def _grouped(
    group_N: pd.Series[Any], fraction: float, seed: int, label_N: pd.Series[Any] | None
) -> Mask:
    number_N, names = pd.factorize(group_N)
    size_G = np.bincount(number_N)
    key_G = unit_keys([str(name) for name in names], seed)
    if label_N is None:
        return _drawn(size_G, key_G, fraction)[number_N]
    class_N, _ = pd.factorize(label_N)
    counts_GC = np.zeros((len(size_G), int(class_N.max()) + 1), dtype=np.int64)
    np.add.at(counts_GC, (number_N, class_N), 1)
    held_G = np.asarray(share_out(counts_GC, size_G, key_G, one_holdout(fraction)) == 0)
    return held_G[number_N]


def _drawn(size_G: IntArray, key_G: U64, fraction: float) -> Mask:
    """Return which groups are held out, bool [G]: neither none nor all."""
    target, held = fraction * size_G.sum(), 0
    order_G = np.argsort(key_G, kind="stable")
    held_G = np.zeros(len(size_G), dtype=bool)
    for group, size in zip(order_G.tolist(), size_G[order_G].tolist(), strict=True):
        if 2 * held + size <= 2 * target:  # with it, we are nearer to the target
            held_G[group], held = True, held + size
    smallest = order_G[np.argmin(size_G[order_G])]
    if not held_G.any():
        held_G[smallest] = True
    elif held_G.all():
        held_G[smallest] = False
    return held_G
