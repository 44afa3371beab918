"""A trace is what its format asks for: lanes with names, and events that lie in each other."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.loading.monitor import Recording, write_trace
from chirpid.loading.monitor.recording import KEPT_BATCHES, SAMPLED
from chirpid.loading.monitor.trace import LOOP, WORKERS, trace_events
from tests.examples import examples

LENGTHS = st.floats(0, 0.02)
EPOCHS = st.lists(st.tuples(LENGTHS, LENGTHS, st.integers(-1, 2), st.floats(0, 1.2)), max_size=12)


def made(batches: list[tuple[float, float, int, float]]) -> Recording:
    """Return an epoch of (wait, step, worker, share of the making that is decoding)."""
    timeline, spans, now = [], [], 0.37
    free: dict[int, float] = defaultdict(float)
    for wait, step, worker, _ in batches:
        got = now + wait
        begin = now if worker < 0 else min(max(now - 0.01, free[worker]), got)
        spans.append((begin, got))
        free[worker] = got
        timeline.append((now, got, got + step))
        now = got + step
    samples = np.zeros((3, len(SAMPLED)))
    samples[:, 0], samples[:, 1:4], samples[:, 4:] = [0.0, 1.0, 2.5], 1e6, np.nan
    spans_S2 = np.array(spans).reshape(-1, 2)
    share = np.array([batch[3] for batch in batches])
    seconds = np.column_stack([share, 1 - share]).reshape(-1, 2) * np.diff(spans_S2)
    return Recording(
        timeline_B3=np.array(timeline).reshape(-1, 3),
        inside_B2=np.array([(b[1] / 3, b[1]) for b in batches]).reshape(-1, 2),
        batch_S=np.arange(len(batches)), worker_S=np.array([b[2] for b in batches], dtype=np.int64),
        span_S2=spans_S2, stages=("decode", "frontend"), stage_SK=np.maximum(seconds, 0),
        samples_AU=samples,
    )  # fmt: skip


def check(events: list[dict[str, Any]]) -> None:
    """Hold events against the format."""
    assert {event["ph"] for event in events} <= {"X", "C", "M"}
    named = {(e["pid"], e["tid"]) for e in events if e["name"] == "thread_name"}
    lanes: dict[tuple[int, int], list[tuple[int, int, str]]] = defaultdict(list)
    for event in events:
        if event["ph"] == "X":
            begin, length = round(event["ts"] * 1e3), round(event["dur"] * 1e3)
            assert begin >= 0
            assert length >= 0
            lanes[event["pid"], event["tid"]].append((begin, begin + length, event["name"]))
        elif event["ph"] == "C":
            assert event["ts"] >= 0
            assert all(value >= 0 for value in event["args"].values())
    assert set(lanes) <= named
    for lane in lanes.values():
        check_nesting(lane)


def check_nesting(lane: list[tuple[int, int, str]]) -> None:
    """Hold each event against the one that it began in, as a viewer does."""
    around: list[tuple[int, int, str]] = []
    for event in lane:
        while around and around[-1][1] <= event[0]:
            around.pop()
        if around:
            assert around[-1][0] <= event[0]
            assert event[1] <= around[-1][1], (around[-1], event)
        if event[2] in ("decode", "frontend"):
            assert around[-1][2].startswith("batch")
        elif event[2] in ("transfer", "augment"):
            assert around[-1][2] == "step"
        around.append(event)


@settings(max_examples=examples(60), deadline=None)
@given(batches=EPOCHS)
def test_whatever_is_recorded_lies_in_named_lanes_and_nests(
    batches: list[tuple[float, float, int, float]],
) -> None:
    events = list(trace_events(made(batches)))
    check(events)
    names = [event["name"] for event in events if event["ph"] == "X"]
    assert names.count("waiting") == names.count("step") == len(batches)
    assert sum(name.startswith("batch ") for name in names) == len(batches)


def test_a_trace_says_when_and_how_long(tmp_path: Path) -> None:
    recording = made([(0.25, 0.5, -1, 1.0), (0.125, 1.0, 1, 0.5)])
    write_trace(recording, tmp_path / "trace.json", title="fold 3")
    whole = json.loads((tmp_path / "trace.json").read_text(encoding="utf-8"))
    events = whole["traceEvents"]
    check(events)
    found = {(e["name"], e["pid"], e["tid"]): e for e in events if e["ph"] == "X"}
    made_by_loop = found["batch 0", LOOP, 0]
    assert (made_by_loop["ts"], made_by_loop["dur"]) == (370000.0, 250000.0)
    assert found["decode", WORKERS, 1]["dur"] == found["frontend", WORKERS, 1]["dur"] == 67500.0
    waits = [e["dur"] for e in events if e["name"] == "waiting"]
    assert waits == [250000.0, 125000.0]
    lanes = {e["args"]["name"] for e in events if e["ph"] == "M" and "name" in e["args"]}
    assert lanes == {"fold 3", "training loop", "loader workers", "worker 1"}
    counters = {(e["name"], *e["args"]) for e in events if e["ph"] == "C"}
    assert counters == {("memory", "MiB"), ("cores", "in use"), ("disks", "MiB/s"),
                        ("batches", "ready")}  # fmt: skip


def test_a_trace_of_a_long_epoch_holds_its_end_and_stays_small(tmp_path: Path) -> None:
    write_trace(made([(0.001, 0.002, 1, 0.5)] * 5000), tmp_path / "trace.json")
    assert (tmp_path / "trace.json").stat().st_size < 4e6
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    steps = [event["args"]["batch"] for event in events if event["name"] == "step"]
    assert steps == list(range(5000 - KEPT_BATCHES, 5000))
