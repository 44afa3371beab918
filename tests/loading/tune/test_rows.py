"""What a look at real rows finds, and what it leaves as it was."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from chirpid.data.kept import Stages
from chirpid.data.rows import RowMaker
from chirpid.loading.tune.rows import sample_order, sample_rows
from chirpid.loading.tune.steps import random_ids, repeated
from chirpid.seeds import keys_of
from chirpid.types import Mode
from tests.sounds import write_set
from tests.workbench import maker_of, segments_of


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("rows") / "set", groups=3)


def test_a_sample_is_drawn_from_the_whole_set_and_is_the_same_each_time() -> None:
    keys = keys_of(f"recording {k}" for k in range(5000))
    order = sample_order(keys, 200)
    assert len(set(order.tolist())) == 200
    np.testing.assert_array_equal(order, sample_order(keys, 200))
    np.testing.assert_array_equal(order, sample_order(keys, 5000)[:200])
    assert 0.3 < (order < 2500).mean() < 0.7
    assert sorted(sample_order(keys[:3], 200).tolist()) == [0, 1, 2]


def test_rows_are_those_of_training_and_their_stages_are_named(root: Path) -> None:
    segments = segments_of(root)
    maker = maker_of(segments)
    sample = sample_rows(maker, segments.key_N, budget_s=0.2, num_cores=4)
    assert len(sample.ids) == len(sample.rows) > 0
    assert sample.num_bad == 0
    wanted, stages = torch.empty((1, *maker.spec.shape), dtype=torch.float16), Stages()
    for index, row in zip(sample.ids.tolist(), sample.rows, strict=True):
        maker.make(index, wanted[0], stages)
        assert torch.equal(row, wanted[0])
    assert set(sample.stage_s) == {"decode", "resample", "frontend"}
    assert 0 < sample.row_core_s < 1
    assert 0 <= sample.serial_share <= 1


def test_nothing_is_left_behind(root: Path) -> None:
    segments = segments_of(root)
    before = torch.get_num_threads(), threading.active_count(), torch.get_rng_state()
    state = np.random.get_state()[1].copy()
    sample_rows(maker_of(segments), segments.key_N, budget_s=0.1, num_cores=4)
    assert (torch.get_num_threads(), threading.active_count()) == before[:2]
    assert torch.equal(torch.get_rng_state(), before[2])
    np.testing.assert_array_equal(np.random.get_state()[1], state)


def test_a_bad_recording_is_left_out_and_left_to_the_training_to_tell(tmp_path: Path) -> None:
    segments = segments_of(write_set(tmp_path / "set"))
    broken = tmp_path / "set" / segments.recordings[0]
    broken.write_bytes(b"no recording")
    sample = sample_rows(maker_of(segments), segments.key_N, budget_s=5.0, num_cores=2)
    of_broken = np.flatnonzero(segments.recording_N == 0)
    assert not set(of_broken.tolist()) & set(sample.ids.tolist())
    assert len(sample.ids) > 0


def test_a_set_without_a_single_good_recording_gives_no_rows(tmp_path: Path) -> None:
    segments = segments_of(write_set(tmp_path / "set", groups=1))
    for index in range(len(segments.recordings)):
        (tmp_path / "set" / segments.recordings[index]).write_bytes(b"")
    maker = maker_of(segments)
    sample = sample_rows(maker, segments.key_N, budget_s=0.1, num_cores=2)
    assert len(sample.ids) == 0
    dataset = repeated(maker.spec, sample.rows, len(segments), 2**30)
    assert torch.isfinite(dataset.fetch(np.array([0]))[0]).all()


class SlowMaker(RowMaker):
    """Rows from a disk on which each read takes a while, the first time or each time."""

    def __init__(self, maker: RowMaker, *, stays: bool) -> None:
        self.__dict__ = maker.__dict__
        self.stays, self.read = stays, set[int]()

    def make_batch(self, ids, out, stages) -> None:
        fresh = [i for i in ids if not (self.stays and i in self.read)]
        self.read.update(ids)
        time.sleep(0.004 * len(fresh))  # the disk: this is what is to be found out
        super().make_batch(ids, out, stages)
        stages["decode"] = stages.get("decode", 0.0) + 0.004 * len(fresh)


@pytest.mark.parametrize("stays", [True, False])
def test_waiting_for_a_disk_is_told_from_working(root: Path, stays: bool) -> None:
    segments = segments_of(root)
    maker = SlowMaker(maker_of(segments), stays=stays)
    sample = sample_rows(maker, segments.key_N, budget_s=0.4, num_cores=1)
    assert sample.read_s >= 0.0039
    assert (sample.reread_s >= 0.0039) is not stays
    quick = sample_rows(maker_of(segments), segments.key_N, budget_s=0.4, num_cores=1)
    assert sample.row_core_s < quick.row_core_s + 0.002  # sleeping is no work


class BusyMaker(RowMaker):
    """Rows that wait for a moment, and then keep a core busy."""

    def __init__(self, maker: RowMaker) -> None:
        self.__dict__ = maker.__dict__

    def make_batch(self, ids, out, stages) -> None:
        time.sleep(1e-4)
        end_s = time.thread_time() + 0.005 * len(ids)
        while time.thread_time() < end_s:
            pass
        super().make_batch(ids, out, stages)


@pytest.fixture
def shared_core() -> Iterator[None]:
    """One core for this process, of which another program takes its share."""
    if not Path("/proc/thread-self/schedstat").exists():
        pytest.skip("this system does not tell who waited for a core")
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        yield
        other.kill()
    os.sched_setaffinity(0, before)


@pytest.mark.usefixtures("shared_core")
def test_waiting_for_a_core_that_others_have_is_not_waiting_for_a_disk(root: Path) -> None:
    segments = segments_of(root)
    maker = BusyMaker(maker_of(segments))
    sample = sample_rows(maker, segments.key_N, budget_s=0.4, num_cores=1)
    assert sample.row_core_s >= 0.005
    assert sample.read_s < 0.3 * sample.row_core_s


def test_few_rows_are_repeated_up_to_a_size_and_no_further(root: Path) -> None:
    segments = segments_of(root)
    maker = maker_of(segments)
    rows = torch.arange(3).half().reshape(3, 1, 1).expand(3, *maker.spec.shape)
    dataset = repeated(maker.spec, rows, 10, 2**30)
    assert dataset.mode is Mode.eager
    assert dataset.rows[:, 0, 0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1, 2, 0]
    small = repeated(maker.spec, rows, 10**9, 40 * maker.spec.row_bytes)
    assert small.num_segments == 10
    assert len(set(random_ids(10, 10, 3).tolist())) == 10
