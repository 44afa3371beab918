"""Windows cover all that is loud, once, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chirpid.audio.segment import (
    LEVEL_STEP_S,
    SegmentRule,
    all_starts,
    segment_starts,
    window_levels,
)

RATES = st.sampled_from([8000, 16000, 22050, 32000, 44100, 48000])
LEVELS = st.lists(st.sampled_from([-120.0, -80.0, -74.9, -40.0, -3.0]), min_size=1, max_size=120)
QUARTERS = st.integers(1, 40).map(lambda n: n * LEVEL_STEP_S)


def frames_of(levels: list[float], rate: int) -> int:
    return round(len(levels) * LEVEL_STEP_S * rate)


@given(rate=RATES, levels=LEVELS, duration_s=QUARTERS)
def test_every_loud_quarter_second_is_covered_exactly_once(rate, levels, duration_s) -> None:
    rule = SegmentRule(duration_s=duration_s, min_tail_s=0.0, min_dbfs=-75.0)
    level = np.array(levels, dtype=np.float32)
    starts = segment_starts(frames_of(levels, rate), rate, level, rule)
    begin_s = starts / rate
    for number, db in enumerate(levels):
        middle = (number + 0.5) * LEVEL_STEP_S
        covering = int(((begin_s <= middle) & (middle < begin_s + duration_s)).sum())
        assert covering == 1 if db >= -75 else covering <= 1


@given(
    rate=RATES.filter(lambda rate: rate % 4 == 0),
    levels=LEVELS,
    duration_s=QUARTERS,
    pad=st.booleans(),
)
def test_every_window_that_is_kept_is_loud_enough(rate, levels, duration_s, pad) -> None:
    rule = SegmentRule(duration_s=duration_s, pad=pad, min_tail_s=0.0)
    level = np.array(levels, dtype=np.float32)
    for start in segment_starts(frames_of(levels, rate), rate, level, rule):
        first = int(start / rate / LEVEL_STEP_S)
        assert level[first : first + round(duration_s / LEVEL_STEP_S)].max() >= -75.0


@given(
    num_frames=st.integers(0, 2_000_000),
    rate=RATES,
    duration_s=st.floats(0.1, 12.0),
    overlap=st.floats(0.05, 2.0),
    pad=st.booleans(),
    min_tail_s=st.floats(0.0, 3.0),
)
def test_windows_hold_what_the_rule_says(
    num_frames, rate, duration_s, overlap, pad, min_tail_s
) -> None:
    rule = SegmentRule(
        duration_s=duration_s, hop_s=duration_s * overlap, pad=pad, min_tail_s=min_tail_s
    )
    starts = all_starts(num_frames, rate, rule)
    window, step = round(duration_s * rate), max(1, round(duration_s * overlap * rate))
    assert (np.diff(starts) > 0).all()
    assert (starts % step == 0).all()
    assert (starts < max(1, num_frames)).all()
    whole = [s for s in range(0, num_frames, step) if s + window <= num_frames]
    assert set(whole) <= set(starts.tolist()), "no whole window is left out"
    padded = [s for s in starts.tolist() if s + window > num_frames]
    if not pad:
        assert padded == []
        return
    assert len(padded) <= 1 or rule.step_s < duration_s
    for start in padded:
        assert start == 0 or num_frames - start >= min_tail_s * rate


@given(num_frames=st.integers(1, 500_000), rate=RATES)
def test_a_recording_with_any_sound_gives_a_window_if_padding_is_allowed(num_frames, rate) -> None:
    assert len(all_starts(num_frames, rate, SegmentRule(duration_s=5.0))) >= 1
    assert len(all_starts(0, rate, SegmentRule(duration_s=5.0))) == 0
    short = SegmentRule(duration_s=5.0, pad=False)
    assert (len(all_starts(num_frames, rate, short)) == 0) == (num_frames < 5 * rate)


@pytest.mark.parametrize(
    ("seconds", "min_tail_s", "begins"),
    [
        (12.0, 1.0, [0, 5, 10]), (11.0, 1.0, [0, 5, 10]), (10.9, 1.0, [0, 5]),
        (10.0, 1.0, [0, 5]), (0.3, 1.0, [0]), (12.0, 2.5, [0, 5]), (10.01, 0.0, [0, 5, 10]),
    ],
)  # fmt: skip
def test_tails(seconds: float, min_tail_s: float, begins: list[int]) -> None:
    rule = SegmentRule(duration_s=5.0, min_tail_s=min_tail_s)
    assert (all_starts(round(seconds * 1000), 1000, rule) / 1000).tolist() == begins


def test_a_tail_that_the_window_before_covers_adds_nothing() -> None:
    rule = SegmentRule(duration_s=5.0, hop_s=2.5, min_tail_s=1.0)
    assert (all_starts(10_000, 1000, rule) / 1000).tolist() == [0, 2.5, 5.0]
    assert (all_starts(11_500, 1000, rule) / 1000).tolist() == [0, 2.5, 5.0, 7.5]


@given(levels=LEVELS, most=st.integers(1, 10))
def test_at_most_so_many_windows_and_they_are_the_loudest(levels, most) -> None:
    assume(max(levels) >= -75)
    level = np.array(levels, dtype=np.float32)
    rule = SegmentRule(duration_s=0.5, min_tail_s=0.0)
    every = segment_starts(frames_of(levels, 16000), 16000, level, rule)
    limited = SegmentRule(duration_s=0.5, min_tail_s=0.0, max_per_recording=most)
    few = segment_starts(frames_of(levels, 16000), 16000, level, limited)
    assert len(few) == min(most, len(every))
    assert set(few) <= set(every)
    left_out = np.setdiff1d(every, few)
    if len(left_out):
        kept = window_levels(few, 16000, 0.5, level).min()
        assert kept >= window_levels(left_out, 16000, 0.5, level).max()
    assert (np.diff(few) > 0).all()


def test_windows_far_below_the_loudest_are_dropped_if_asked() -> None:
    level = np.repeat(np.array([-60, -20, -35], dtype=np.float32), 4)
    rule = SegmentRule(duration_s=1.0, max_below_peak_db=20.0)
    assert (segment_starts(3 * 8000, 8000, level, rule) / 8000).tolist() == [1.0, 2.0]


def test_unknown_levels_keep_all() -> None:
    rule = SegmentRule(duration_s=1.0, max_per_recording=2)
    assert segment_starts(5 * 8000, 8000, None, rule).tolist() == [0, 8000]


def test_an_hour_at_an_odd_rate_does_not_drift() -> None:
    rate, seconds = 22050, 3600
    level = np.full(seconds * 4, -120.0, dtype=np.float32)
    level[4 * 3599] = -10.0
    starts = segment_starts(seconds * rate, rate, level, SegmentRule(duration_s=1.0))
    assert (starts / rate).tolist() == [3599.0]
