"""The table of all windows of all recordings, as a handful of arrays.

Arrays and not objects: workers get them by fork or pickle without a million small strings, whose
reference counts would copy every page.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chirpid.audio.segment import SegmentRule, segment_starts
from chirpid.data.manifest import Manifest
from chirpid.errors import DataError
from chirpid.seeds import U64, keys_of, mix64
from chirpid.types import IntArray


class TextTable:
    """Many strings in one array of bytes; item i is a str."""

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode() for text in texts]
        self._bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        self._ends = np.cumsum([0, *map(len, encoded)])

    def __len__(self) -> int:
        return len(self._ends) - 1

    def __getitem__(self, index: int) -> str:
        return self._bytes[self._ends[index] : self._ends[index + 1]].tobytes().decode()

    def equal_to(self, text: str) -> npt.NDArray[np.bool_]:
        """Return which of the strings are `text`, bool [n]."""
        wanted = np.frombuffer(text.encode(), dtype=np.uint8)
        found: npt.NDArray[np.bool_] = np.diff(self._ends) == len(wanted)
        starts = self._ends[:-1][found]
        found[found] = (self._bytes[starts[:, None] + np.arange(len(wanted))] == wanted).all(axis=1)
        return found


@dataclass(frozen=True, slots=True)
class SegmentTable:
    """Windows (N) of recordings (R). A segment's id is its row here.

    Recordings stand in the order of a hash of their names, so that neighbours are unrelated and a
    shuffle within a window of rows mixes classes; segments of a recording are neighbours in time.
    """

    root: str
    rule: SegmentRule
    classes: tuple[str, ...]
    groups: tuple[str, ...]
    recordings: TextTable
    """[R] paths relative to `root`."""
    contents: TextTable
    """[R] hashes of the files, for cache keys."""
    formats: TextTable
    sample_rate_R: IntArray
    channel_R: IntArray
    label_R: IntArray
    group_R: IntArray
    recording_N: IntArray
    start_N: IntArray
    """Start of the window in frames of its file."""
    key_N: U64
    """What random draws are keyed by: the recording's name and the start."""

    def __len__(self) -> int:
        return len(self.recording_N)

    @property
    def label_N(self) -> IntArray:
        """Class of each segment, int64 [N]."""
        return self.label_R[self.recording_N]

    @property
    def group_N(self) -> IntArray:
        """Index into `groups` of each segment, int64 [N]."""
        return self.group_R[self.recording_N]

    def start_s(self, index: int) -> float:
        """Return where segment `index` starts in its recording, in seconds."""
        return float(self.start_N[index] / self.sample_rate_R[self.recording_N[index]])

    def name(self, index: int) -> str:
        """Return the segment id that files show: recording@start in seconds."""
        return f"{self.recordings[int(self.recording_N[index])]}@{self.start_s(index):.3f}"


def make_segments(
    manifest: Manifest,
    levels: Sequence[npt.NDArray[np.float32] | None],
    rule: SegmentRule,
) -> tuple[SegmentTable, list[str]]:
    """Return the segments of a checked manifest, and notes on recordings that have none.

    Args:
        levels: level curve of each recording of the manifest; None where it is not known.
    Raises:
        DataError: no recording has a usable window.
    """
    table = manifest.table
    # As arrays: asking a table for a field of a row takes a tenth of a millisecond.
    column = {name: table[name].to_numpy() for name in table.columns}
    order = build_order(column["recording"])
    column = {name: values[order] for name, values in column.items()}
    starts = [
        segment_starts(int(num_frames), int(rate_hz), levels[i], rule)
        for i, num_frames, rate_hz in zip(
            order.tolist(), column["num_frames"], column["sample_rate_hz"], strict=True
        )
    ]
    notes = _empty_notes(column["recording"].tolist(), starts)
    if not any(len(s) for s in starts):
        raise DataError(
            f"{manifest.name}: none of {len(table)} recordings has a window with enough sound. "
            "Lower segment.min_dbfs, or set segment.pad=true for short recordings."
        )
    groups = tuple(sorted(set(table.group)))
    group_index = {name: i for i, name in enumerate(groups)}
    class_index = {name: i for i, name in enumerate(manifest.classes)}
    recording_N = np.repeat(np.arange(len(order)), [len(s) for s in starts])
    start_N = np.concatenate(starts)
    return SegmentTable(
        root=str(manifest.root),
        rule=rule,
        classes=manifest.classes,
        groups=groups,
        recordings=TextTable(column["recording"]),
        contents=TextTable(column["file_hash"]),
        formats=TextTable(column["format"]),
        sample_rate_R=column["sample_rate_hz"].astype(np.int64),
        channel_R=column["channel"].astype(np.int64),
        label_R=np.array([class_index[name] for name in column["label"]], dtype=np.int64),
        group_R=np.array([group_index[name] for name in column["group"]], dtype=np.int64),
        recording_N=recording_N.astype(np.int64),
        start_N=start_N,
        key_N=mix64(keys_of(column["recording"])[recording_N], start_N.astype(np.uint64)),
    ), notes


def build_order(names: Iterable[str]) -> IntArray:
    """Return the places of recordings in the order of segments: by the hash of their names."""
    return np.argsort(keys_of(names), kind="stable")


def _empty_notes(names: list[str], starts: list[npt.NDArray[np.int64]]) -> list[str]:
    empty = [name for name, s in zip(names, starts, strict=True) if len(s) == 0]
    if not empty:
        return []
    shown = ", ".join(empty[:5]) + (", ..." if len(empty) > 5 else "")
    return [f"{len(empty)} recordings have no window with enough sound and are unused: {shown}"]
