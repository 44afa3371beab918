"""Every work does the same in all its cases, and says so in the documented shape."""

from __future__ import annotations

import importlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from chirpid.bench import plot, timing
from chirpid.bench.timing import Row
from chirpid.bench.works import WORKS
from chirpid.cli.bench import main
from chirpid.errors import BenchmarkError, ConfigError

ROW = {
    "work", "case", "median_s", "spread", "ratio", "baseline", "percent_of_limit", "limit",
    "samples_per_s", "batch_ms", "turns", "others_cores",
}  # fmt: skip
PROMISED = {
    "floats-784", "lazy-wav", "lazy-flac", "lazy-ogg", "cached-f16", "cached-f32",
    "transport-16mb", "folds-5x4", "train-cached", "train-lazy-flac", "resume", "step-100",
    "step-10000", "collate-784-arrays", "collate-784-tensors", "collate-64k-arrays",
    "collate-64k-tensors", "wrap-cached", "wrap-prefetch", "slices", "slices-read",
}  # fmt: skip
MORE = {
    "folds-5x4": {"fold_switch_ms", "fold_first_batch_ms"},
    "train-cached": {"wait_share", "core_s"},
    "train-lazy-flac": {"wait_share", "core_s"},
    "step-100": {"wait_percent", "wait_us", "step_ms"},
    "step-10000": {"wait_percent", "wait_us", "step_ms"},
    "wrap-cached": {"peak_own_mib"},
    "wrap-prefetch": {"wait_share", "core_s", "peak_own_mib"},
    "slices": {"new_tensors_kib"},
    "slices-read": {"new_tensors_kib"},
    "overhead": {
        "monitor_percent",
        "sender_core_ms",
        "monitor_batch_us",
        "monitor_sample_ms",
        "monitor_summary_ms",
    },
}
TINY = ["--quick", "--samples", "15", "--batch-size", "4", "--seeds", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what all works, at their smallest, have written."""
    folder = tmp_path_factory.mktemp("bench")
    page = folder / "page.md"
    page.write_text(
        "before\n<!-- bench:loaders -->\nwhat was there before\n<!-- /bench:loaders -->\nafter\n"
    )
    out = ["--output", str(folder / "bench.json"), "--markdown", str(page)]
    folds, overhead, steps = (
        importlib.import_module(f"chirpid.bench.works.{name}")
        for name in ("folds", "overhead", "steps")
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folds, "NUM_FOLDS", 2)  # each starts workers of torch, again and again
        patch.setattr(folds, "NUM_EPOCHS", 2)
        patch.setattr(timing, "_MOST_REPEATS", 2)  # figures steadier than any claim here needs
        patch.setattr(overhead, "_MANY", 200)
        patch.setattr(steps, "CHANNELS", (2, 4))
        patch.setattr(plot, "draw", lambda *figures: None)  # after every work, most of the time
        assert main(["loaders", *TINY, *out]) == 0
    return folder


@pytest.fixture(scope="module")
def report(run: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((run / "bench.json").read_text(encoding="utf-8"))
    return loaded


def test_the_promised_works_are_there() -> None:
    assert set(WORKS) >= PROMISED


@pytest.mark.parametrize("work", WORKS)
def test_a_work_has_a_row_per_case_in_the_documented_shape(
    report: dict[str, Any], work: str
) -> None:
    rows = {row["case"]: row for row in report["rows"] if row["work"] == work}
    ours = rows["chirpid"]
    assert rows[ours["baseline"]]["ratio"] == 1.0
    assert {(row["baseline"], row["limit"]) for row in rows.values()} == {
        (ours["baseline"], ours["limit"])
    }
    if ours["limit"] in rows:
        assert rows[ours["limit"]]["percent_of_limit"] == 100.0
    for row in rows.values():
        assert set(row) >= ROW
        assert row["spread"][0] <= row["median_s"] <= row["spread"][1]
        assert row["batch_ms"] == sorted(row["batch_ms"])
        assert row["turns"] >= 1
    assert set(ours) - ROW == MORE.get(work, set())


@pytest.mark.parametrize("work", ["train-cached", "train-lazy-flac"])
def test_the_bound_of_training_counts_the_work_of_the_model_and_of_loading(
    report: dict[str, Any], work: str
) -> None:
    rows = {row["case"]: row for row in report["rows"] if row["work"] == work}
    alone, loading = rows["model alone"], rows["loading alone"]
    # Several threads of the model spin while they wait for each other; one does not.
    model_s = min(alone["core_s"], rows["model alone, 1 thread"]["core_s"])
    assert min(model_s, loading["core_s"]) > 0
    shared_s = (model_s + loading["core_s"]) / report["machine"]["cores"]
    bound_s = max(alone["median_s"], shared_s)
    for row in rows.values():  # of one turn, so that medians are the turn
        assert row["percent_of_limit"] == pytest.approx(100 * bound_s / row["median_s"])


def test_the_report_says_where_and_how_it_was_made(report: dict[str, Any]) -> None:
    assert (report["version"], report["complete"]) == (1, True)
    assert report["command"].startswith("chirpid bench loaders --quick")
    assert report["machine"]["cores"] >= 1
    assert report["options"]["samples"] == 15
    assert list(dict.fromkeys(row["work"] for row in report["rows"])) == list(WORKS)


def test_a_plot_of_all_works_can_be_drawn(report: dict[str, Any], tmp_path: Path) -> None:
    known = {field.name for field in fields(Row)}
    rows = [Row(**{k: v for k, v in row.items() if k in known}) for row in report["rows"]]
    plot.draw(tmp_path / "bench.png", rows, "a machine")
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG")


def test_the_table_stands_between_its_markers(run: Path, report: dict[str, Any]) -> None:
    page = (run / "page.md").read_text(encoding="utf-8")
    assert page.startswith("before\n<!-- bench:loaders -->\n`chirpid bench loaders")
    assert page.endswith("<!-- /bench:loaders -->\nafter\n")
    assert "what was there before" not in page
    assert page.count("\n| `") == len(report["rows"])
    assert "| torch DataLoader (baseline) |" in page


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("mine\n")
    with pytest.raises(ConfigError, match=r"no place for the table.*<!-- bench:loaders -->"):
        main(["loaders", *TINY, "--only", "cached-u8", "--markdown", str(page)])
    assert page.read_text() == "mine\n"


def test_a_run_that_stops_leaves_the_works_that_were_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(bench: object) -> object:
        raise KeyboardInterrupt

    monkeypatch.setitem(WORKS, "overhead", stopped)
    out = tmp_path / "bench.json"
    with pytest.raises(KeyboardInterrupt):
        main(["loaders", *TINY, "--only", "cached-u8,overhead", "--output", str(out)])
    report = json.loads(out.read_text(encoding="utf-8"))
    assert report["complete"] is False
    assert {row["work"] for row in report["rows"]} == {"cached-u8"}
    assert (tmp_path / "bench.png").read_bytes().startswith(b"\x89PNG"), "beside the figures"


def test_a_work_whose_loader_repeats_rows_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from chirpid.bench import ours

    def always_the_first(ids: Any, key_N: Any, *, seed: int, epoch: int = 0) -> Any:
        return ids * 0

    monkeypatch.setattr(ours, "shuffled", always_the_first)
    with pytest.raises(BenchmarkError, match=r"cached-f32, chirpid: .* row 0 came 15 times, not 1"):
        main(["loaders", *TINY, "--only", "cached-f32"])


def test_an_unknown_work_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'lazy-wav'"):
        main(["loaders", "--only", "lazy-wave"])
