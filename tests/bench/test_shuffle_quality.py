"""The figures of a shuffle are 1 for a perfect one, and tell a poor one."""

from __future__ import annotations

import numpy as np
import pytest

from chirpid.bench.shuffle_quality import ShuffleQuality, made_set, shuffle_quality, table_of


@pytest.fixture(scope="module")
def by_class() -> dict[float, ShuffleQuality]:
    made = made_set(num_segments=8000, sorted_by_class=True)
    rows = shuffle_quality(made, shard_segments=40, batch_size=32)
    return {row.window: row for row in rows}


def test_a_window_over_all_is_a_perfect_shuffle(by_class: dict[float, ShuffleQuality]) -> None:
    full = by_class[1.0]
    for name in ("class_spread", "same_recording", "same_shard", "met_again"):
        assert getattr(full, name) == pytest.approx(1.0, abs=0.1), name
    assert full.order_correlation < 0.03


def test_smaller_windows_mix_less(by_class: dict[float, ShuffleQuality]) -> None:
    small, medium, half, full = (by_class[w] for w in (0.01, 0.1, 0.5, 1.0))
    for name in ("class_spread", "same_recording", "same_shard", "met_again"):
        found = [getattr(row, name) for row in (small, medium, half)]
        assert found == sorted(found, reverse=True), name
        assert found[0] > 5 * getattr(full, name), name
    assert small.longest_run > full.longest_run


def test_a_window_of_two_shards_has_pairs_of_one_shard_in_every_second_pair() -> None:
    made = made_set(num_segments=8000, sorted_by_class=False)
    (row,) = shuffle_quality(made, windows=[0.01], shard_segments=40, batch_size=16)
    # Two segments of a window of two shards are of one shard with 39 / 79; of the set, 39 / 7999.
    assert row.same_shard == pytest.approx(7999 / 79, rel=0.02)


def test_classes_are_spread_by_storing_recordings_in_random_order() -> None:
    made = made_set(num_segments=8000, sorted_by_class=False)
    (row,) = shuffle_quality(made, windows=[0.1], shard_segments=40, batch_size=32)
    assert row.class_spread < 1.5
    assert np.bincount(made.label_N)[0] > 5 * np.bincount(made.label_N)[-1]


def test_the_table_has_a_line_for_each_window() -> None:
    made = made_set(num_segments=1000, sorted_by_class=False)
    lines = table_of(shuffle_quality(made, epochs=1)).splitlines()
    assert len(lines) == 2 + 4
    assert {line.count("|") for line in lines} == {8}
