"""A dataset that is a set of shards: rows as training takes them, with all that is known of them.

Nothing of the recordings is needed any more. Folds, batches and augmentation are those that the
recordings would give, since the table of segments comes with the rows, in its order.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor

import chirpid
from chirpid.audio.frontend import FrontEnd
from chirpid.audio.segment import SegmentRule
from chirpid.data.check import Checked
from chirpid.data.kept import RowSpec, Stages
from chirpid.data.manifest import CHECKED_COLUMNS, TABLE_COLUMNS, make_manifest
from chirpid.data.rows import RowMaker, Watch
from chirpid.data.segments import SegmentTable, TextTable
from chirpid.seeds import mix64
from chirpid.storage.layout import RowLayout
from chirpid.storage.parallel import Progress
from chirpid.storage.remote import LocalPlace, Place
from chirpid.storage.remote_shards import ADVICE
from chirpid.storage.shard_set import SetIndex, read_file, read_index, write_set
from chirpid.storage.shard_window import LocalShards, ShardFiles, ShardWindow
from chirpid.types import IntArray, Keep, StoreDtype

RECORDINGS, SEGMENTS = "recordings.json", "segments.bin"
_SEGMENT = np.dtype([("recording", "<i4"), ("start", "<i8"), ("key", "<u8")])
_PLACES = 5  # stream of random numbers


@dataclass(frozen=True, slots=True)
class ShardSet:
    """A set that was opened: its tables are here, its rows are where they are."""

    place: Place
    index: SetIndex
    checked: Checked
    segments: SegmentTable
    settings: dict[str, Any]
    """The settings that made the rows, by name: `frontend.num_mels`, `mode.dtype`, ..."""
    implementation: str
    """What computed the rows."""

    @property
    def layout(self) -> RowLayout:
        return self.index.layout

    def local_files(self) -> ShardFiles | None:
        """Return the shards if they lie in a folder."""
        if not isinstance(self.place, LocalPlace):
            return None
        folder, checksums = self.place.folder, self.index.checksums
        return LocalShards(folder, self.layout, checksums=checksums, advice=ADVICE)


class ShardRows(RowMaker):
    """Rows that are taken from shards instead of being made.

    Args:
        files: opens the shards; called when the first row is wanted.
    """

    def __init__(
        self,
        found: ShardSet,
        frontend: FrontEnd,
        *,
        keep: Keep,
        dtype: StoreDtype,
        files: Callable[[], ShardFiles],
    ) -> None:
        super().__init__(found.segments, frontend, keep=keep, dtype=dtype)
        self.layout, self._files = found.layout, files
        self._made_by = found.implementation
        self._window: ShardWindow | None = None

    @property
    def implementation(self) -> str:
        """What computed the rows when they were written."""
        return self._made_by

    def make(self, index: int, out: Tensor, stages: Stages) -> None:
        self.make_range(index, index + 1, out[None])

    def make_range(self, first: int, end: int, out: Tensor, watch: Watch | None = None) -> None:
        # Nobody can watch: the values before they were narrowed are not there any more.
        size = self.layout.chunk_rows
        for shard in range(first // size, -(-end // size)):
            begin, stop = max(first, shard * size), min(end, (shard + 1) * size)
            rows = np.arange(begin, stop) - shard * size
            window = self._opened()
            window.reached(shard)
            opened = window.check(shard, window.take([shard])[0][shard], rows)
            out[begin - first : stop - first] = opened.rows[rows[0] : rows[-1] + 1]

    def _opened(self) -> ShardWindow:
        if self._window is None:
            self._window = ShardWindow(self._files(), kept=2, ahead=4)
            shards = range(self.layout.num_chunks)
            self._window.expect([np.array([self.layout.span(s)[0]]) for s in shards])
        return self._window

    def close(self) -> None:
        """Release the shards."""
        if self._window is not None:
            self._window.close()
            self._window = None


def shuffled(segments: SegmentTable) -> SegmentTable:
    """Return the same segments in the order of a hash of their keys, so that neighbours differ."""
    order = np.argsort(mix64(_PLACES, segments.key_N), kind="stable")
    return replace(
        segments,
        recording_N=segments.recording_N[order],
        start_N=segments.start_N[order],
        key_N=segments.key_N[order],
    )


def write_shard_set(
    place: Place,
    maker: RowMaker,
    checked: Checked,
    settings: Mapping[str, Any],
    *,
    shard_segments: int,
    rows_key: str,
    num_threads: int,
    progress: Progress | None = None,
) -> int:
    """Write all rows of `maker` as a set; return the shards that were written.

    Args:
        checked: the recordings that the segments of `maker` were cut from.
        settings: all that decides the rows, by name.
        rows_key: digest of all that decides the rows.
    Raises:
        StorageError: the place cannot be written, or holds another set.
    """
    segments, spec, manifest = maker.segments, maker.spec, checked.manifest
    layout = RowLayout(len(segments), spec.shape, spec.dtype.value, shard_segments)
    about = {
        "chirpid": chirpid.__version__,
        "dataset": manifest.name,
        "synthetic": manifest.synthetic,
        "notes": list(manifest.notes),
        "classes": list(segments.classes),
        "num_segments": len(segments),
        "num_recordings": len(segments.recordings),
        "rows": {"keep": spec.keep.value, "dtype": spec.dtype.value, "shape": list(spec.shape),
                 "low": spec.low, "high": spec.high},
        "implementation": maker.implementation,
        "settings": dict(settings),
    }  # fmt: skip
    return write_set(
        place,
        layout,
        maker.make_range,
        about=about,
        files={RECORDINGS: _recordings(checked, segments), SEGMENTS: _segments(segments)},
        rows_key=rows_key,
        num_threads=num_threads,
        progress=progress,
    )


def open_shard_set(place: Place) -> ShardSet:
    """Return a set, with the tables that say what its rows are.

    Raises:
        StorageError: there is no whole set, or its tables are damaged.
    """
    index = read_index(place)
    about = index.about
    table = pd.DataFrame(json.loads(read_file(place, index, RECORDINGS)))
    manifest = make_manifest(about["dataset"], Path(place.where()), table).with_(
        notes=tuple(about["notes"]), synthetic=about["synthetic"]
    )
    rows = np.frombuffer(read_file(place, index, SEGMENTS), dtype=_SEGMENT)
    return ShardSet(
        place=place,
        index=index,
        checked=Checked(manifest, [], [], 0),
        segments=_table_of(manifest.table, rows, about),
        settings=about["settings"],
        implementation=about["implementation"],
    )


def spec_of(found: ShardSet) -> RowSpec:
    """Return what the rows of a set are."""
    rows = found.index.about["rows"]
    return RowSpec(
        keep=Keep(rows["keep"]),
        dtype=StoreDtype(rows["dtype"]),
        shape=tuple(rows["shape"]),
        low=rows["low"],
        high=rows["high"],
    )


def _recordings(checked: Checked, segments: SegmentTable) -> bytes:
    """Return the table of recordings, in the order of the segment table."""
    names = [segments.recordings[r] for r in range(len(segments.recordings))]
    table = checked.manifest.table.set_index("recording").loc[names].reset_index()
    columns = {name: table[name].tolist() for name in (*TABLE_COLUMNS, *CHECKED_COLUMNS)}
    return json.dumps(columns, indent=0).encode()


def _segments(segments: SegmentTable) -> bytes:
    rows = np.empty(len(segments), dtype=_SEGMENT)
    rows["recording"], rows["start"] = segments.recording_N, segments.start_N
    rows["key"] = segments.key_N
    return rows.tobytes()


def _table_of(table: pd.DataFrame, rows: Any, about: Mapping[str, Any]) -> SegmentTable:
    classes = tuple(about["classes"])
    groups = tuple(sorted(set(table["group"])))
    rule = {name.partition(".")[2]: value for name, value in about["settings"].items()
            if name.startswith("segment.")}  # fmt: skip
    return SegmentTable(
        root="",
        rule=SegmentRule(**{k: v for k, v in rule.items() if k in SegmentRule.__slots__}),
        classes=classes,
        groups=groups,
        recordings=TextTable(table["recording"]),
        contents=TextTable(table["file_hash"]),
        formats=TextTable(table["format"]),
        sample_rate_R=table["sample_rate_hz"].to_numpy(dtype=np.int64),
        channel_R=table["channel"].to_numpy(dtype=np.int64),
        label_R=_codes(table["label"], classes),
        group_R=_codes(table["group"], groups),
        recording_N=rows["recording"].astype(np.int64),
        start_N=rows["start"].astype(np.int64),
        key_N=rows["key"].astype(np.uint64),
    )


def _codes(names: pd.Series[str], known: Sequence[str]) -> IntArray:
    index = {name: i for i, name in enumerate(known)}
    return np.array([index[name] for name in names], dtype=np.int64)
