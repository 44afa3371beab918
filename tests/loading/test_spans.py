"""Who made what, and when: told by every backend, and held against a set that knows it."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.datasets import TensorDataset
from chirpid.data.kept import RowSpec
from chirpid.data.order import batches_of
from chirpid.loading.backends.device import DeviceBackend
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.worker import pack_times, unpack_names, unpack_times
from chirpid.loading.monitor import EpochMonitor
from chirpid.types import Batch, IntArray, Keep, Mode, StoreDtype
from tests.loading.test_backends import BACKENDS, NUM, Rows, backend_of
from tests.loading.test_processes import DiesOnce

PAUSE_S = 0.003
BATCHES = batches_of(np.arange(NUM), 4)


class Told(Rows):
    """Each row takes a known time, and known seconds and counts are told of it."""

    def fetch(self, ids, out=None):
        batch, _ = super().fetch(ids, out)
        time.sleep(PAUSE_S * len(ids))
        return batch, told_of(ids)


def told_of(ids: IntArray) -> dict[str, float]:
    """Return the stages of rows; which there are differs by the first id."""
    stages = {"decode": 0.5 * len(ids), "frontend": 0.25 * float(ids.sum())}
    if len(ids) and int(ids[0]) // 8 % 2:
        stages = {"read": 0.125 * float(ids.max()), **stages}
    return stages | {"num_cache_misses": len(ids)}


@pytest.mark.parametrize("name", BACKENDS)
def test_spans_tell_what_the_set_told(name: str) -> None:
    backend = backend_of(name, Told())
    counts: Counter[str] = Counter()
    try:
        for batch in backend.run(BATCHES):
            sums: Counter[str] = Counter()
            for span in batch.spans:
                sums.update(span.stages)
            assert dict(sums) == pytest.approx(dict(batch.stages))
            counts.update(batch.stages)
            if len(batch.spans) == 1:
                assert dict(batch.stages) == told_of(batch.ids)
    finally:
        backend.close()
    assert counts["num_cache_misses"] == NUM
    assert counts["decode"] == 0.5 * NUM
    assert counts["frontend"] == 0.25 * sum(range(NUM))


@pytest.mark.parametrize("name", BACKENDS)
def test_spans_lie_in_the_epoch_and_those_of_a_worker_beside_each_other(name: str) -> None:
    backend, monitor = backend_of(name, Told()), EpochMonitor()
    lanes = defaultdict(list)
    begin = time.perf_counter()
    try:
        for batch in monitor.watch(backend.run(BATCHES)):
            got = time.perf_counter()
            assert batch.spans
            for span in batch.spans:
                assert begin <= span.begin_s
                assert span.end_s <= got
                lanes[span.worker].append(span)
            took = sum(span.end_s - span.begin_s for span in batch.spans)
            assert took >= PAUSE_S * len(batch)
    finally:
        backend.close()
    for spans in lanes.values():
        in_order = sorted(spans, key=lambda span: span.begin_s)
        assert all(one.end_s <= other.begin_s for one, other in pairwise(in_order))
    assert set(lanes) <= ({-1} if name == "inline" else {0, 1})
    figures, recording = monitor.summary(), monitor.recording()
    # To wait is no work: the pauses are in the spans and not in their core-seconds.
    took_s = sum(span.end_s - span.begin_s for lane in lanes.values() for span in lane)
    worked_s = sum(span.core_s for lane in lanes.values() for span in lane)
    assert 0 < worked_s <= took_s - PAUSE_S * NUM + 1e-3
    assert figures["loader/fetch_cpu_share"] == pytest.approx(worked_s / monitor.elapsed_s)
    assert recording.span_S2.min() >= 0
    assert (recording.span_S2[:, 1] <= recording.timeline_B3[recording.batch_S, 1]).all()
    assert figures["loader/num_cache_misses"] == NUM
    if name != "inline":
        known_s = PAUSE_S * NUM
        busy_s = figures["loader/worker_busy_share"] * 2 * monitor.elapsed_s
        assert known_s <= busy_s <= 2 * monitor.elapsed_s
        assert figures["loader/worker_busy_share_min"] <= figures["loader/worker_busy_share"] <= 1
    else:
        assert figures["loader/wait_share"] >= PAUSE_S * NUM / monitor.elapsed_s


def held() -> TensorDataset:
    spec = RowSpec(Keep.spectrogram, StoreDtype.float16, (1,))
    return TensorDataset(spec, torch.arange(NUM)[:, None].half(), Mode.eager)


def gathers() -> Iterator[tuple[str, list[Batch]]]:
    for name, backend in (
        ("device", DeviceBackend(held(), torch.device("cpu"))),
        ("inline", InlineBackend(held())),
    ):
        yield name, list(backend.run(BATCHES))
        backend.close()


def test_gathers_in_the_loop_are_told_too_and_once_for_batches_made_together() -> None:
    for name, batches in gathers():
        spans = [span for batch in batches for span in batch.spans]
        assert len(spans) == (len(batches) if name == "device" else 1), name
        assert {span.worker for span in spans} == {-1}
        assert sum(batch.stages["num_cache_hits"] for batch in batches) == NUM
        of_spans = sum(span.stages["gather"] for span in spans)
        assert sum(batch.stages["gather"] for batch in batches) == pytest.approx(of_spans)
        assert all(span.end_s - span.begin_s >= span.stages["gather"] - 1e-6 for span in spans)


@pytest.mark.timeout(60)
def test_a_worker_in_the_place_of_a_dead_one_names_its_stages_anew(tmp_path: Path) -> None:
    class Both(DiesOnce):
        def fetch(self, ids, out=None):
            return super().fetch(ids, out)[0], told_of(ids)

    backend = backend_of("processes", Both(tmp_path, 17, 30), num_workers=1, say=lambda line: None)
    try:
        got = list(backend.run(BATCHES))
    finally:
        backend.close()
    assert [dict(batch.stages) for batch in got] == [told_of(ids) for ids in BATCHES]


@given(
    stages=st.dictionaries(
        st.text(st.characters(exclude_characters="\n", codec="utf-8"), min_size=1),
        st.floats(allow_nan=False),
    ),
    begin=st.floats(0, 1e9),
    length=st.floats(0, 1e3),
)
def test_times_come_out_of_a_pipe_as_they_went_in(
    stages: dict[str, float], begin: float, length: float
) -> None:
    names = unpack_names("\n".join(stages).encode())
    packed = pack_times(begin, begin + length, length / 2, stages)
    assert len(packed) == 8 * (3 + len(stages))
    assert unpack_times(packed, names) == (begin, begin + length, length / 2, stages)
