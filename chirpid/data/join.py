"""Tables of several sets as one table: what their ids, folds and classes are together.

A group of one name is one group, whatever the set, so that a recordist who is in two sets is on
one side of each split; audio that is in two sets is found by its hash, as within one set.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from chirpid.data.check import Checked
from chirpid.data.manifest import make_manifest
from chirpid.data.segments import SegmentTable, TextTable
from chirpid.types import IntArray


def join_checked(sets: Sequence[Checked], names: Sequence[str]) -> Checked:
    """Return the recordings of all sets, each called `<set>/<recording>`.

    Args:
        names: of the sets, each another.
    """
    tables = [
        one.manifest.table.assign(recording=[f"{name}/{r}" for r in one.manifest.table.recording])
        for one, name in zip(sets, names, strict=True)
    ]
    notes = [
        f"{name}: {note}" for one, name in zip(sets, names, strict=True)
        for note in one.manifest.notes
    ]  # fmt: skip
    manifest = make_manifest(" + ".join(names), Path(), pd.concat(tables, ignore_index=True)).with_(
        notes=tuple(notes), synthetic=any(one.manifest.synthetic for one in sets)
    )
    problems = [problem for one in sets for problem in one.problems]
    levels = [level for one in sets for level in one.levels]
    return Checked(manifest, levels, problems, sum(one.num_decoded for one in sets))


def join_segments(tables: Sequence[SegmentTable], names: Sequence[str]) -> SegmentTable:
    """Return the segments of all sets, one set after the other, with the classes of all.

    Keys stay as they are: a segment is drawn and augmented as it is in its set alone.
    """
    classes = tuple(sorted({name for table in tables for name in table.classes}))
    groups = tuple(sorted({name for table in tables for name in table.groups}))
    starts = np.cumsum([0, *(len(table.recordings) for table in tables)])
    pairs = list(zip(tables, names, strict=True))
    return replace(
        tables[0],
        root="",
        classes=classes,
        groups=groups,
        recordings=TextTable(
            f"{name}/{text}" for t, name in pairs for text in _texts(t.recordings)
        ),
        contents=TextTable(text for table in tables for text in _texts(table.contents)),
        formats=TextTable(text for table in tables for text in _texts(table.formats)),
        sample_rate_R=np.concatenate([table.sample_rate_R for table in tables]),
        channel_R=np.concatenate([table.channel_R for table in tables]),
        label_R=np.concatenate([_recode(t.label_R, t.classes, classes) for t in tables]),
        group_R=np.concatenate([_recode(t.group_R, t.groups, groups) for t in tables]),
        recording_N=np.concatenate(
            [t.recording_N + first for t, first in zip(tables, starts, strict=False)]
        ),
        start_N=np.concatenate([table.start_N for table in tables]),
        key_N=np.concatenate([table.key_N for table in tables]),
    )


def _texts(table: TextTable) -> list[str]:
    return [table[index] for index in range(len(table))]


def _recode(codes: IntArray, old: Sequence[str], new: Sequence[str]) -> IntArray:
    place = {name: index for index, name in enumerate(new)}
    return np.array([place[name] for name in old], dtype=np.int64)[codes]
