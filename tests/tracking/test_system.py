from __future__ import annotations

import base64
import json
import os
import zlib
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

from chirpid.tracking import open_tracker
from chirpid.tracking.journal import read_events
from chirpid.tracking.parcel import Parcel
from chirpid.tracking.system import SYSTEM_JOURNAL, Machine, SystemSampler, pauses_s
from chirpid.tracking.views import charts_address, view_key, view_tag


def count(folder: Path) -> int:
    path = folder / SYSTEM_JOURNAL
    return sum(1 for _ in read_events(path)) if path.exists() else 0


def test_the_machine_is_told_under_the_names_of_mlflow(tmp_path: Path) -> None:
    names: set[str] = set()
    for monitor in (CPUMonitor(), DiskMonitor(), NetworkMonitor()):
        monitor.collect_metrics()
        names |= set(monitor.aggregate_metrics())
    figures = Machine(os.getpid(), tmp_path).read()
    assert names <= set(figures)
    assert figures["training_memory_megabytes"] > 10
    assert 0 < figures["system_memory_usage_percentage"] <= 100


def test_a_machine_without_a_network_is_told_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "net_io_counters", lambda: None)
    figures = Machine(os.getpid(), tmp_path).read()
    assert figures["network_receive_megabytes"] == 0
    assert figures["training_memory_megabytes"] > 10


def test_short_runs_are_sampled_and_a_resumed_one_counts_on(tmp_path: Path) -> None:
    tracker = open_tracker("mlflow", folder=tmp_path, outputs=tmp_path, send=False)
    tracker.find_or_start("a sweep", "sweep")
    run = tracker.start_run("run")
    steps: list[int] = []
    for _ in range(2):
        sampler = SystemSampler(tmp_path, os.getpid(), tmp_path, 0.01)
        sampler.start()
        while count(tmp_path) < len(steps) + 2:
            assert sampler.is_alive()
        sampler.finish()
        events = [event for event, _ in read_events(tmp_path / SYSTEM_JOURNAL) if event]
        steps = [event["step"] for event in events]
    assert steps == list(range(len(steps)))
    assert {event["run"] for event in events} == {run}
    tracker.close()


@given(every_s=st.floats(0.1, 1000))
def test_samples_come_sooner_at_first(every_s: float) -> None:
    pauses = pauses_s(every_s)
    assert pauses == sorted(pauses)
    assert all(pause < every_s for pause in pauses)
    assert len(pauses) <= 10


def test_points_without_a_value_are_left_out() -> None:
    parcel = Parcel()
    parcel.add({"kind": "series", "steps": [1, 2], "times": [10, 20],
                "values": {"a": [0.5, None], "b": [1.5, 2.5]}})  # fmt: skip
    assert parcel.metrics == [("a", 0.5, 10, 1), ("b", 1.5, 10, 1), ("b", 2.5, 20, 2)]


def test_a_view_charts_the_jobs_below_a_run_and_fits_into_a_tag() -> None:
    name, text = view_tag("abc", "my sweep", ["loader/samples_per_s", "loader/step/x"], now_ms=5)
    assert name == f"mlflow.sharedViewState.{view_key('abc')}"
    assert len(view_tag("abc", "s", [os.urandom(200).hex() for _ in range(90)], now_ms=5)[1]) < 5001
    kind, _, packed = json.loads(text)["state"].partition(";")
    state = json.loads(zlib.decompress(base64.b64decode(packed)))
    assert kind == "deflate"
    assert state["searchFilter"] == "tags.mlflow.parentRunId = 'abc'"
    assert [chart["type"] for chart in state["compareRunCharts"]] == ["BAR", "LINE"]
    assert {section["columns"] for section in state["compareRunSections"]} == {2}
    sections = {section["uuid"] for section in state["compareRunSections"]}
    assert {chart["metricSectionId"] for chart in state["compareRunCharts"]} <= sections
    assert "{{chirpid.view}}" not in charts_address("a/b", view=False)
