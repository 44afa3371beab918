"""Units of a split: recordings that must stay together, whatever the reason.

Letters: R recordings, U units.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chirpid.types import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Units:
    """Recordings united into units, numbered by name, so that the order of rows does not matter."""

    unit_R: IntArray
    """int64 [R], the unit of each recording."""
    names: list[str]
    """The smallest group name of each unit; unique."""
    joined: tuple[str, ...] = ()
    """Groups that share a recording with another group, and so were united with it."""
    num_duplicates: int = 0
    """Recordings whose audio another recording has too."""

    def __len__(self) -> int:
        return len(self.names)


def unite(groups_R: Sequence[str], audio_hash_R: Sequence[str]) -> Units:
    """Return units of equal group, with groups that hold the same audio united.

    Args:
        audio_hash_R: equal for duplicate audio; an empty text means unknown and unites nothing.
    """
    group_R, group_names = pd.factorize(np.asarray(groups_R, dtype=object), sort=True)
    parent = list(range(len(group_names)))
    first_with: dict[str, int] = {}
    repeated: dict[str, int] = {}
    for group, audio in zip(group_R.tolist(), audio_hash_R, strict=True):
        if not audio:
            continue
        repeated[audio] = repeated.get(audio, 0) + 1
        one, other = _root(parent, first_with.setdefault(audio, group)), _root(parent, group)
        # The smaller number leads: a unit is called after its first group in order of names.
        parent[max(one, other)] = min(one, other)
    root_G = np.array([_root(parent, group) for group in range(len(parent))], dtype=np.int64)
    leaders, unit_G = np.unique(root_G, return_inverse=True)
    in_unit = np.bincount(unit_G, minlength=len(leaders))
    return Units(
        unit_R=unit_G[group_R].astype(np.int64),
        names=[str(group_names[leader]) for leader in leaders],
        joined=tuple(
            str(n) for n, unit in zip(group_names, unit_G, strict=True) if in_unit[unit] > 1
        ),
        num_duplicates=sum(count for count in repeated.values() if count > 1),
    )


def _root(parent: list[int], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]
        node = parent[node]
    return node


def recording_names(audio_hash_R: Sequence[str]) -> list[str]:
    """Return a unique name of each recording that does not depend on its row, where it can.

    Duplicate audio gets one name: such recordings are one unit.
    """
    return [audio or f"row {row:09d}" for row, audio in enumerate(audio_hash_R)]
