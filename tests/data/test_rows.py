"""Rows: what is kept comes back, and a window is the sound that is there."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chirpid import native
from chirpid.audio.decode import probe
from chirpid.data.kept import RowSpec
from chirpid.data.rows import RowMaker, note_on_lazy, one_thread
from chirpid.data.segments import TextTable
from chirpid.errors import ConfigError
from chirpid.types import Keep, StoreDtype
from tests.sounds import write_set
from tests.workbench import maker_of, segments_of


@pytest.fixture(scope="module")
def maker(tmp_path_factory: pytest.TempPathFactory) -> RowMaker:
    folder = write_set(tmp_path_factory.mktemp("rows") / "set")
    return maker_of(segments_of(folder), keep=Keep.waveform, dtype=StoreDtype.float32)


SAMPLES = st.lists(st.floats(-1.5, 1.5, width=32), min_size=1, max_size=50)


def round_trip(values: list[float], dtype: StoreDtype) -> torch.Tensor:
    """Return the values as they come back from being kept, in dB from -100 to 6 for uint8."""
    spec = RowSpec(Keep.spectrogram, dtype, (len(values),), low=-100.0, high=6.0)
    before = torch.tensor(values)
    kept = torch.empty(len(values), dtype=spec.torch_dtype)
    spec.narrow(before, kept)
    assert before.tolist() == torch.tensor(values).tolist(), "narrowing leaves the values alone"
    return spec.widen(kept, torch.empty(len(values)))


@given(SAMPLES)
def test_int16_keeps_waveforms_to_half_a_step_and_clips_the_rest(values: list[float]) -> None:
    wanted = torch.tensor(values).clamp(-32768 / 32767, 1.0)
    error = (round_trip(values, StoreDtype.int16) - wanted).abs().max()
    assert float(error) <= 0.5001 / 32767


@given(st.lists(st.floats(-100, 40, width=32), min_size=1, max_size=50))
def test_float16_keeps_decibels_to_a_thirtieth(values: list[float]) -> None:
    error = (round_trip(values, StoreDtype.float16) - torch.tensor(values)).abs().max()
    assert float(error) < 1 / 30


@given(st.lists(st.floats(-120, 40, width=32), min_size=1, max_size=50))
def test_uint8_keeps_decibels_to_half_a_step_and_clips_the_rest(values: list[float]) -> None:
    wanted = torch.tensor(values).clamp(-100.0, 6.0)
    error = (round_trip(values, StoreDtype.uint8) - wanted).abs().max()
    assert float(error) <= 0.5001 * 106 / 255


def test_float16_clips_instead_of_becoming_infinite() -> None:
    assert round_trip([1e9, -1e9], StoreDtype.float16).tolist() == [65504.0, -65504.0]


def test_bytes_of_rows_are_those_of_their_type() -> None:
    spec = RowSpec(Keep.spectrogram, StoreDtype.float16, (128, 501))
    assert spec.row_bytes == 128 * 501 * 2
    assert spec.batch_row_bytes == 128 * 501 * 4


def test_a_waveform_is_the_tone_of_its_recording_whatever_its_rate(maker: RowMaker) -> None:
    table, rate = maker.segments, maker.frontend.sample_rate_hz
    for index in range(len(table)):
        row = torch.empty(maker.spec.shape)
        maker.make(index, row, {})
        sounding = row[: int(rate * 0.3)]
        peak_hz = torch.fft.rfft(sounding * torch.hann_window(len(sounding))).abs().argmax() / 0.3
        assert abs(float(peak_hz) - 600 * (int(table.label_N[index]) + 1)) < 10


def test_a_tail_is_padded_with_silence(maker: RowMaker) -> None:
    table, rate = maker.segments, maker.frontend.sample_rate_hz
    num_tails = 0
    for index in range(len(table)):
        recording = int(table.recording_N[index])
        info = probe(Path(table.root, table.recordings[recording]))
        left_s = info.num_frames / info.sample_rate_hz - table.start_s(index)
        if left_s >= 1.0:
            continue
        num_tails += 1
        row = torch.empty(maker.spec.shape)
        maker.make(index, row, {})
        end = round(left_s * rate)
        assert float(row[: end - 20].abs().max()) > 0.2
        assert not row[end + 40 :].any()
    assert num_tails > 3


def test_a_range_is_made_as_one_by_one_is(maker: RowMaker) -> None:
    rows = torch.empty(len(maker.segments), *maker.spec.shape)
    maker.make_range(0, len(rows), rows)
    for index in (0, 5, len(rows) - 1):
        one = torch.empty(maker.spec.shape)
        maker.make(index, one, {})
        assert torch.equal(one, rows[index])
    part = torch.empty(7, *maker.spec.shape)
    maker.make_range(4, 11, part)
    assert torch.equal(part, rows[4:11])


def test_stages_are_told_in_seconds(maker: RowMaker) -> None:
    stages: dict[str, float] = {}
    begin = time.perf_counter()
    maker.make(0, torch.empty(maker.spec.shape), stages)
    maker.make(0, torch.empty(maker.spec.shape), stages)
    wall_s = time.perf_counter() - begin
    assert set(stages) == {"decode", "resample", "frontend"}
    assert all(seconds > 0 for seconds in stages.values())
    assert sum(stages.values()) <= wall_s, "stages follow one another and are counted once"


def test_one_thread_is_for_the_block_alone() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with one_thread():
            inside = torch.get_num_threads()
        assert inside == 1
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_the_shape_follows_the_front_end(tmp_path: Path) -> None:
    segments = segments_of(write_set(tmp_path / "set", groups=1), duration_s=0.5)
    maker = maker_of(segments)
    assert maker.spec.shape == (24, 1 + 8000 // 256)
    assert np.prod(maker.spec.shape) * 2 == maker.spec.row_bytes


def test_uint8_is_for_log_mel_alone_and_reaches_from_floor_to_ceiling(maker: RowMaker) -> None:
    table = maker.segments
    made = maker_of(table, dtype=StoreDtype.uint8)
    assert (made.spec.low, made.spec.high) == (-100.0, made.frontend.ceiling_db)
    for wrong in ({"keep": Keep.waveform}, {"kind": "pcen"}):
        with pytest.raises(ConfigError, match="uint8"):
            maker_of(table, dtype=StoreDtype.uint8, **wrong)


DTYPES = [(Keep.spectrogram, dtype) for dtype in StoreDtype] + [
    (Keep.waveform, dtype) for dtype in StoreDtype if dtype is not StoreDtype.uint8
]


@pytest.mark.parametrize(("keep", "dtype"), DTYPES)
def test_a_batch_has_the_bits_that_kept_rows_give_back(
    maker: RowMaker, keep: Keep, dtype: StoreDtype
) -> None:
    made = maker_of(maker.segments, keep=keep, dtype=dtype)
    ids = [3, 0, len(made.segments) - 1, 3]
    batch = torch.full((len(ids), *made.spec.shape), torch.nan)
    made.make_batch(ids, batch, {})
    for index, row in zip(ids, batch, strict=True):
        kept = torch.empty(made.spec.shape, dtype=made.spec.torch_dtype)
        made.make(index, kept, {})
        assert torch.equal(made.spec.widen(kept, torch.empty(made.spec.shape)), row)


def test_threads_that_make_rows_at_once_make_the_same_rows(maker: RowMaker) -> None:
    made = maker_of(maker.segments)
    ids = list(range(len(made.segments)))
    alone = torch.empty(len(ids), *made.spec.shape)
    made.make_batch(ids, alone, {})
    together = [torch.empty_like(alone) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda out: made.make_batch(ids, out, {}), together))
    assert all(torch.equal(out, alone) for out in together)


def test_a_waveform_is_the_same_sound_as_its_row(maker: RowMaker) -> None:
    row = torch.empty(maker.spec.shape)
    maker.make(1, row, {})
    with maker.open(int(maker.segments.recording_N[1])) as decoder:
        wave = maker.waveform(1, decoder, {})
    assert torch.equal(wave, row)
    wave.mul_(2)  # its own memory, and no inference tensor
    again = torch.empty(maker.spec.shape)
    maker.make(1, again, {})
    assert torch.equal(row, again)


def test_what_made_the_rows_is_named(maker: RowMaker) -> None:
    assert maker.implementation == ("torch" if native.handle() is None else "native-1")
    made = maker_of(maker.segments, fft_samples=600)  # not a power of two: torch
    expected = "resampling native-1, front end torch" if native.handle() else "torch"
    assert made.implementation == expected


def test_windows_deep_in_mp3_files_are_told_before_they_are_decoded_lazily(
    maker: RowMaker,
) -> None:
    table = maker.segments
    assert note_on_lazy(table) is None
    all_mp3 = replace(table, formats=TextTable(["MP3"] * len(table.recordings)))
    assert note_on_lazy(all_mp3) is None, "windows near the start cost little"
    deep = replace(all_mp3, start_N=table.start_N + 60 * table.sample_rate_R[table.recording_N])
    said = note_on_lazy(deep)
    assert said is not None
    assert f"{len(table)} of {len(table)} windows lie in MP3 files, on average 61 s" in said
