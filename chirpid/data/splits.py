"""Folds that cannot leak: whole groups, every class in every fold as far as that is possible.

Letters: R recordings, N segments, C classes, K folds, U units (groups united by duplicate audio).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from chirpid.data.balance import Target, deal, even_folds, one_holdout, share_out, unit_keys
from chirpid.data.split_rules import (
    Table,
    notes_of,
    require_data,
    require_official,
    require_splittable,
    split_units,
)
from chirpid.data.units import Units, recording_names, unite
from chirpid.errors import ConfigError, DataError
from chirpid.seeds import keys_of, mix64
from chirpid.types import GroupBy, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Folds:
    """Which segments are validated in which fold."""

    fold_N: IntArray
    """int64 [N], the fold in which each segment is validated; -1: never, always trained on."""
    num_folds: int
    kind: str
    """For people: "grouped_kfold by group"."""
    notes: tuple[str, ...] = ()
    """What the user should know, one line each."""
    leaky: bool = False
    """Groups are on both sides, on purpose: by the user's columns or by `cv.group_by`."""
    unit_N: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """int64 [N], what was kept together: groups united by duplicate audio. For `inner_split`."""
    identity: str = ""
    """Digest of labels, groups and recordings that the folds belong to."""

    def train_ids(self, k: int) -> IntArray:
        """Return the ids of the segments that fold `k` trains on, int64, ascending."""
        self._check(k)
        return np.flatnonzero(self.fold_N != k).astype(np.int64)

    def valid_ids(self, k: int) -> IntArray:
        """Return the ids of the segments that fold `k` validates, int64, ascending."""
        self._check(k)
        return np.flatnonzero(self.fold_N == k).astype(np.int64)

    @property
    def hash(self) -> str:
        """Return 16 hex digits, equal for the same segments of the same data in the same folds."""
        digest = hashlib.sha256(f"chirpid folds 1 {self.num_folds} {self.identity} ".encode())
        digest.update(np.ascontiguousarray(self.fold_N, dtype="<i8").tobytes())
        return digest.hexdigest()[:16]

    def _check(self, k: int) -> None:
        if not 0 <= k < self.num_folds:
            raise ConfigError(f"There is no fold {k}: cv.folds may name 0 to {self.num_folds - 1}.")


def make_folds(
    *,
    kind: str,
    labels_R: IntArray,
    groups_R: Sequence[str],
    audio_hash_R: Sequence[str],
    official_R: IntArray,
    recording_N: IntArray,
    class_names: Sequence[str],
    num_folds: int = 5,
    group_by: GroupBy = GroupBy.group,
    holdout_fraction: float = 0.2,
    seed: int = 0,
) -> Folds:
    """Return folds of the segments, checked for leaks.

    The folds depend on what the recordings are, not on the order of the rows; recordings without a
    segment play no part.

    Args:
        kind: "grouped_kfold", "predefined" (the folds in `official_R`) or "holdout" (one fold).
        audio_hash_R: equal for duplicate audio, which is never split; "" where unknown.
        official_R: int64 [R], official folds; -1 for recordings that are only ever trained on.
        recording_N: int64 [N], the recording of each segment.
        num_folds: of grouped_kfold; predefined has as many as the column, holdout has one.
        group_by: `recording` and `segment` leak groups, on purpose, to show how much that flatters.
    Raises:
        DataError: the set cannot be split: empty, one class, one group, one recording a class.
        ConfigError: more folds than groups; predefined without official folds.
    """
    if kind not in ("grouped_kfold", "predefined", "holdout"):
        raise ConfigError(f"cv.kind={kind} is unknown. Use grouped_kfold, predefined or holdout.")
    group_by = GroupBy(group_by)
    table = Table.of(labels_R, groups_R, audio_hash_R, official_R, recording_N, class_names)
    require_data(table)
    grouped = unite(table.groups_R, table.audio_hash_R)
    if kind == "predefined":
        fold_N, unit_N = _official(table), grouped.unit_R[table.recording_N]
    else:
        fraction = holdout_fraction if kind == "holdout" else None
        fold_N, unit_N = _split(table, grouped, group_by, num_folds, fraction, seed)
    on_purpose = kind == "predefined" or group_by is not GroupBy.group
    folds = Folds(
        fold_N=fold_N,
        num_folds=int(fold_N.max()) + 1,
        kind=kind if kind == "predefined" else f"{kind} by {group_by.value}",
        notes=notes_of(table, grouped, unit_N, fold_N),
        leaky=on_purpose and len(split_units(grouped.unit_R[table.recording_N], fold_N)) > 0,
        unit_N=unit_N,
        identity=identity_of(table.names_N, table.groups_N, table.recording_N.tolist()),
    )
    if not folds.leaky:
        check_no_leak(folds, table.recording_N, table.groups_N, table.audio_hash_N)
    return folds


def _official(table: Table) -> IntArray:
    """Return the official folds of the segments, numbered 0 to K - 1 in order."""
    require_official(table.official_R)
    validated = table.official_R >= 0
    fold_R = np.full(len(validated), -1, dtype=np.int64)
    fold_R[validated] = np.unique(table.official_R[validated], return_inverse=True)[1]
    return fold_R[table.recording_N]


def _split(
    table: Table,
    grouped: Units,
    group_by: GroupBy,
    num_folds: int,
    fraction: float | None,
    seed: int,
) -> tuple[IntArray, IntArray]:
    """Return folds and units of the segments, both int64 [N]; a `fraction` asks for a hold-out."""
    target = even_folds(num_folds) if fraction is None else one_holdout(fraction)
    if group_by is GroupBy.segment:
        fold_N, unit_N = _by_segment(table, target, seed), np.arange(len(table.recording_N))
    else:
        units = grouped
        if group_by is GroupBy.recording:
            units = unite(recording_names(table.audio_hash_R), table.audio_hash_R)
        require_splittable(table, units, group_by, num_folds if fraction is None else None)
        fold_N = _by_units(table, units, target, seed)[units.unit_R][table.recording_N]
        unit_N = units.unit_R[table.recording_N]
    if fraction is not None:
        fold_N = np.where(fold_N == 0, 0, -1)
    return fold_N.astype(np.int64), unit_N.astype(np.int64)


def _by_units(table: Table, units: Units, target: Target, seed: int) -> IntArray:
    """Return the fold of each unit, int64 [U]."""
    keys_U = unit_keys(units.names, seed)
    if len(units) == len(table.labels_R):  # one recording a unit: dealing is exact, and fast
        return deal(table.labels_R[np.argsort(units.unit_R)], keys_U, target)
    counts_UC = np.zeros((len(units), len(table.class_names)), dtype=np.int64)
    np.add.at(counts_UC, (units.unit_R, table.labels_R), 1)
    segments_U = np.bincount(units.unit_R[table.recording_N], minlength=len(units))
    return share_out(counts_UC, segments_U, keys_U, target)


def _by_segment(table: Table, target: Target, seed: int) -> IntArray:
    """Return folds of segments dealt out at random within each class: this leaks recordings."""
    num_segments, num_folds = len(table.recording_N), len(target.shares_K)
    if num_segments < num_folds:
        raise ConfigError(
            f"cv.num_folds={num_folds} needs as many segments, and there are {num_segments}. "
            f"Set cv.num_folds={num_segments} or less."
        )
    order = np.argsort(table.recording_N, kind="stable")
    starts = np.searchsorted(table.recording_N[order], table.recording_N[order])
    rank_N = np.empty(num_segments, dtype=np.uint64)
    rank_N[order] = np.arange(num_segments) - starts
    recording_keys = keys_of(recording_names(table.audio_hash_R))[table.recording_N]
    return deal(table.labels_N, mix64(seed, recording_keys, rank_N), target)


def identity_of(
    labels_N: Sequence[str], groups_N: Sequence[str], recordings_N: Sequence[object]
) -> str:
    """Return a digest of label, group and recording of each segment, in that order.

    Recordings count by where they begin and end, not by name: a moved folder is the same set.
    """
    digest = hashlib.sha256()
    for values_N in (labels_N, groups_N):
        codes_N, names = pd.factorize(np.asarray(values_N, dtype=object))
        digest.update("\n".join(map(str, names)).encode() + b"\0")
        digest.update(codes_N.astype("<i8").tobytes())
    recordings, _ = pd.factorize(np.asarray(recordings_N, dtype=object))
    digest.update(recordings.astype("<i8").tobytes())
    return digest.hexdigest()[:16]


def check_no_leak(
    folds: Folds,
    recording_N: npt.ArrayLike,
    groups_N: npt.ArrayLike,
    audio_hash_N: npt.ArrayLike,
) -> None:
    """Raise DataError if a recording, a group or duplicate audio is in two folds.

    Looks at the finished folds only, whoever made them. An empty audio hash means unknown.
    """
    assert len(folds.fold_N) == len(np.asarray(recording_N)), "one recording for each segment"
    for word, values in (("recording", recording_N), ("group", groups_N), ("audio", audio_hash_N)):
        codes_N, names = pd.factorize(np.asarray(values, dtype=object))
        known = np.asarray(values, dtype=object) != ""
        split = split_units(codes_N[known].astype(np.int64), folds.fold_N[known])
        if len(split):
            inside = np.unique(folds.fold_N[known][codes_N[known] == split[0]])
            raise DataError(
                f"The split leaks: {word} {names[int(split[0])]!r} is in folds "
                f"{', '.join('train only' if f < 0 else str(f) for f in inside)}, and "
                f"{len(split)} of {len(names)} in all. Do not trust a score of this split."
            )


def inner_split(
    ids: IntArray, labels_N: IntArray, unit_N: IntArray, *, fraction: float, seed: int
) -> tuple[IntArray, IntArray]:
    """Return the ids to train on and the ids to choose an epoch by, whole units each.

    Args:
        ids: int64, the training segments of a fold; rows of `labels_N` and `unit_N`.
        unit_N: what must stay together, `Folds.unit_N`.
        fraction: share of `ids` to choose by, as far as whole units allow.
    Raises:
        ConfigError: the training part is a single unit.
    """
    ids = np.sort(np.asarray(ids, dtype=np.int64))
    units, unit_n = np.unique(unit_N[ids], return_inverse=True)
    if len(units) < 2:
        raise ConfigError(
            "engine.selection=inner needs two groups or more in the training part of each fold, "
            "and one has a single group. Use engine.selection=last, or fewer folds."
        )
    keys_U = mix64(seed, units.astype(np.uint64))
    if len(units) == len(ids):
        held_n = deal(labels_N[ids], keys_U[unit_n], one_holdout(fraction)) == 0
    else:
        _, label_n = np.unique(labels_N[ids], return_inverse=True)
        counts_UC = np.zeros((len(units), int(label_n.max()) + 1), dtype=np.int64)
        np.add.at(counts_UC, (unit_n, label_n), 1)
        held_U = share_out(counts_UC, counts_UC.sum(axis=1), keys_U, one_holdout(fraction)) == 0
        held_n = held_U[unit_n]
    return ids[~held_n], ids[held_n]
