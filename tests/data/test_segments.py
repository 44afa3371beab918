"""The segment table: ids that stay, keys that are unique, names that people can read."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.audio.segment import SegmentRule
from chirpid.data.manifest import Manifest
from chirpid.data.segments import TextTable, make_segments
from chirpid.errors import DataError

RULE = SegmentRule(duration_s=1.0, min_tail_s=0.2)


def manifest_of(count: int = 12, seconds: float = 3.0) -> Manifest:
    rate = 8000
    table = pd.DataFrame(
        {
            "recording": [f"audio/vögel {n}.wav" for n in range(count)],
            "label": [f"class {n % 3}" for n in range(count)],
            "group": [f"person {n % 4}" for n in range(count)],
            "fold": -1, "secondary": "", "sample_rate_hz": rate,
            "num_frames": [round(rate * (seconds + n % 3)) for n in range(count)],
            "num_channels": 1, "format": "WAV", "channel": -1,
            "file_hash": [f"{n:016x}" for n in range(count)],
            "audio_hash": [f"{n:016x}" for n in range(count)],
        }
    )  # fmt: skip
    return Manifest(name="test", root=Path("/there"), table=table,
                    classes=("class 0", "class 1", "class 2"))  # fmt: skip


def levels_of(manifest: Manifest, level: float = -20.0) -> list[np.ndarray]:
    seconds = manifest.table["num_frames"] / manifest.table["sample_rate_hz"]
    return [np.full(int(s * 4), level, dtype=np.float32) for s in seconds]


def test_each_segment_knows_its_recording_label_group_and_start() -> None:
    manifest = manifest_of()
    segments, notes = make_segments(manifest, levels_of(manifest), RULE)
    assert notes == []
    assert len(segments) == sum(manifest.table["num_frames"] // 8000)
    table = manifest.table.set_index("recording")
    for index in range(len(segments)):
        row = table.loc[segments.recordings[int(segments.recording_N[index])]]
        assert segments.classes[segments.label_N[index]] == row["label"]
        assert segments.groups[segments.group_N[index]] == row["group"]
        assert segments.contents[int(segments.recording_N[index])] == row["file_hash"]
        assert 0 <= segments.start_N[index] < row["num_frames"]


def test_names_and_keys_are_unique() -> None:
    manifest = manifest_of()
    segments, _ = make_segments(manifest, levels_of(manifest), RULE)
    names = {segments.name(i) for i in range(len(segments))}
    assert len(names) == len(set(segments.key_N.tolist())) == len(segments)
    assert "audio/vögel 0.wav@1.000" in names


def test_the_order_of_the_rows_of_the_table_does_not_matter() -> None:
    manifest = manifest_of()
    levels = levels_of(manifest)
    shuffled = np.random.default_rng(0).permutation(12)
    other = Manifest(name="test", root=manifest.root, classes=manifest.classes,
                     table=manifest.table.iloc[shuffled].reset_index(drop=True))  # fmt: skip
    first, _ = make_segments(manifest, levels, RULE)
    second, _ = make_segments(other, [levels[i] for i in shuffled], RULE)
    assert [first.name(i) for i in range(len(first))] == [
        second.name(i) for i in range(len(second))
    ]
    assert np.array_equal(first.key_N, second.key_N)
    assert np.array_equal(first.label_N, second.label_N)


def test_a_new_recording_moves_no_draw_of_the_others() -> None:
    small, large = manifest_of(8), manifest_of(12)
    few, _ = make_segments(small, levels_of(small), RULE)
    many, _ = make_segments(large, levels_of(large), RULE)
    keys = {many.name(i): many.key_N[i] for i in range(len(many))}
    for i in range(len(few)):
        assert keys[few.name(i)] == few.key_N[i]


def test_recordings_without_sound_are_told_and_a_set_without_any_is_refused() -> None:
    manifest = manifest_of()
    levels = levels_of(manifest)
    levels[3] = np.full_like(levels[3], -110.0)
    segments, notes = make_segments(manifest, levels, RULE)
    assert len(notes) == 1
    assert "audio/vögel 3.wav" in notes[0]
    assert not (segments.recording_N == 99).any()
    with pytest.raises(DataError, match=r"none of 12 recordings .*segment\.min_dbfs"):
        make_segments(manifest, levels_of(manifest, -110.0), RULE)


@given(st.lists(st.text(max_size=20), max_size=30))
def test_texts_come_back_in_any_script(texts: list[str]) -> None:
    texts = [text.encode("utf-8", "ignore").decode() for text in texts]
    table = TextTable(texts)
    assert [table[i] for i in range(len(table))] == texts


def test_a_large_table_pickles_as_arrays() -> None:
    manifest = manifest_of(2000)
    segments, _ = make_segments(manifest, levels_of(manifest), RULE)
    per_segment = len(pickle.dumps(segments)) / len(segments)
    assert per_segment < 80
