"""Batches whose WAV files are made natively: the bits and the errors of row after row."""

from __future__ import annotations

import pickle
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid import native
from chirpid.data.rows import RowMaker
from chirpid.data.segments import SegmentTable, TextTable
from chirpid.errors import DataError
from chirpid.types import Keep, StoreDtype
from tests.examples import examples
from tests.sounds import write_set
from tests.workbench import maker_of, segments_of

KINDS = st.sampled_from(
    [(Keep.spectrogram, dtype) for dtype in StoreDtype]
    + [(Keep.waveform, dtype) for dtype in StoreDtype if dtype is not StoreDtype.uint8]
)
FRONT_ENDS = st.sampled_from([{}, {"kind": "pcen"}, {"fft_samples": 600}])


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> SegmentTable:
    """Return windows of WAV, FLAC and Ogg files in five rates."""
    return segments_of(write_set(tmp_path_factory.mktemp("wav_rows") / "set"))


def one_by_one(maker: RowMaker, ids: list[int]) -> torch.Tensor:
    rows = torch.full((len(ids), *maker.spec.shape), torch.nan)
    for index, row in zip(ids, rows, strict=True):
        kept = torch.empty(maker.spec.shape, dtype=maker.spec.torch_dtype)
        maker.make(index, kept, {})
        maker.spec.widen(kept, row)
    return rows


def together(maker: RowMaker, ids: list[int]) -> torch.Tensor:
    rows = torch.full((len(ids), *maker.spec.shape), torch.nan)
    maker.make_batch(ids, rows, {})
    return rows


@given(st.data(), KINDS, FRONT_ENDS)
@settings(deadline=None, max_examples=examples(40))
def test_any_batch_has_the_bits_of_its_rows(
    table: SegmentTable,
    data: st.DataObject,
    kind: tuple[Keep, StoreDtype],
    other: dict[str, object],
) -> None:
    keep, dtype = kind
    maker = maker_of(table, keep=keep, dtype=dtype, **({} if dtype is StoreDtype.uint8 else other))
    ids = data.draw(st.lists(st.integers(0, len(table) - 1), max_size=9))
    assert torch.equal(together(maker, ids), one_by_one(maker, ids))


def test_what_is_not_wav_is_left_to_libsndfile(table: SegmentTable) -> None:
    maker = maker_of(table)
    ids = list(range(len(table)))
    out = torch.empty(len(ids), *maker.spec.shape)
    stages: dict[str, float] = {}
    begin = time.perf_counter()
    left = list(maker._wav_rows.make(ids, out, stages))
    wall_s = time.perf_counter() - begin
    formats = [table.formats[int(table.recording_N[index])] for index in ids]
    if native.handle() is None:
        assert left == ids
        return
    assert left == [index for index in ids if formats[index] != "WAV"]
    assert 0 < len(left) < len(ids)
    assert set(stages) == {"decode", "resample", "frontend"}
    assert all(seconds > 0 for seconds in stages.values())
    assert sum(stages.values()) <= wall_s, "stages follow one another and are counted once"


def vanish(path: Path) -> None:
    path.unlink()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def become_text(path: Path) -> None:
    path.write_text("<html>not found</html>")


def become_flac(path: Path) -> None:
    soundfile.write(path, np.zeros(9000), 32000, format="FLAC")


def become_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


CHANGES = [vanish, cut_short, empty, become_text, become_flac, become_folder]


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_went_bad_is_told_as_alone(
    table: SegmentTable, change: Callable[[Path], None], tmp_path: Path
) -> None:
    folder = tmp_path / "set"
    shutil.copytree(table.root, folder)
    maker = maker_of(segments_of(folder))
    segments = maker.segments
    bad = [r for r in range(len(segments.formats)) if segments.formats[r] == "WAV"][1]
    change(folder / segments.recordings[bad])
    index = int((segments.recording_N == bad).argmax())
    others = [i for i in range(len(segments)) if segments.recording_N[i] != bad]
    with pytest.raises(DataError) as alone:
        one_by_one(maker, [index])
    with pytest.raises(DataError) as in_batch:
        together(maker, [*others[:5], index, *others[5:]])
    assert type(in_batch.value) is type(alone.value)
    assert str(in_batch.value) == str(alone.value)


def test_a_channel_that_is_gone_is_told_as_alone(tmp_path: Path) -> None:
    maker = maker_of(segments_of(write_set(tmp_path / "set")))
    maker.segments.channel_R[:] = 1
    with pytest.raises(DataError, match=r"has changed since it was checked: .* with 1 channels"):
        together(maker, list(range(len(maker.segments))))


def test_a_wav_file_that_grew_odd_has_the_samples_of_libsndfile(
    table: SegmentTable, tmp_path: Path
) -> None:
    """Bytes after the data are for libsndfile: they change who reads, and no bit."""
    folder = tmp_path / "set"
    shutil.copytree(table.root, folder)
    maker = maker_of(segments_of(folder))
    ids = list(range(len(maker.segments)))
    before = together(maker, ids)
    for path in (folder / "audio").glob("*.wav"):
        path.write_bytes(path.read_bytes() + b"odd")
    assert list(maker._wav_rows.make(ids, torch.empty_like(before), {})) == ids
    assert torch.equal(together(maker, ids), before)


def test_a_maker_goes_to_another_process(table: SegmentTable) -> None:
    maker = maker_of(table)
    ids = list(range(12))
    expected = together(maker, ids)
    assert torch.equal(together(pickle.loads(pickle.dumps(maker)), ids), expected)


@given(st.lists(st.sampled_from(["WAV", "OGG", "W", "", "FLAC", "WAVEX", "MP3"])), st.text())
def test_equal_strings_are_found(texts: list[str], other: str) -> None:
    table = TextTable(texts)
    for wanted in ("WAV", "", other):
        assert table.equal_to(wanted).tolist() == [text == wanted for text in texts]
