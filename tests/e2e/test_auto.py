"""loader=auto from the command line: the same bits, honest figures, and what it remembers."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from tests.e2e.line import call, run_folder, train
from tests.engine.bench import same_weights

AUTO = ("loader=auto", "loader.probe_s=0.4")
pytestmark = pytest.mark.usefixtures("no_plots")


@pytest.fixture(scope="module")
def auto(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The outputs of a run with loader=auto, and what it said."""
    outputs = tmp_path_factory.mktemp("auto")
    before = threading.active_count()
    ended = train(root, outputs, *AUTO)
    assert ended.code == 0, ended.err
    assert threading.active_count() == before
    return outputs, ended.out


def test_the_weights_are_those_of_any_other_loader(auto: tuple[Path, str], straight: Path) -> None:
    ours = run_folder(auto[0])
    assert all(same_weights(ours, straight, fold) for fold in (0, 1))


def test_predicted_stands_beside_achieved(auto: tuple[Path, str]) -> None:
    told = json.loads((run_folder(auto[0]) / "results.json").read_text())["loader"]
    assert set(told["predicted"]) == {
        "samples_per_s",
        "wait_share",
        "epoch_s",
        "build_s",
        "total_s",
    }
    assert all(value >= 0 for value in told["predicted"].values())
    assert told["achieved"]["samples_per_s"] > 0
    assert told["achieved"]["total_s"] > 0
    assert told["chosen"]["mode"] in ("cached", "eager", "lazy")
    assert told["remembered"] is False
    chosen, achieved = (line for line in auto[1].splitlines() if line.startswith("loader=auto"))
    assert f"{told['predicted']['samples_per_s']:.0f} samples/s predicted" in chosen
    assert f"{told['achieved']['samples_per_s']:.0f} samples/s achieved" in achieved


def test_explain_shows_every_setting_and_what_a_probe_found_is_remembered(
    root: Path, tmp_path: Path
) -> None:
    first = train(root, tmp_path, *AUTO, "explain=true")
    assert first.code == 0, first.err
    assert "remembered)" not in first.out
    (memory,) = (tmp_path / "cache" / "probes").glob("*.json")
    head = next(k for k, line in enumerate(first.out.splitlines()) if line.startswith("mode  "))
    rows = [line.split() for line in first.out.splitlines()[head + 1 :] if line.split()[8:]]
    assert {row[0] for row in rows} >= {"cached", "eager", "lazy"}
    assert sum("<-" in row for row in rows) == 1

    second = train(root, tmp_path, *AUTO, "explain=true", "loader.probe_s=0.1")
    assert ", remembered)" in second.out
    memory.write_text("{")  # a half-written file of another program
    third = train(root, tmp_path, *AUTO, "explain=true")
    assert third.code == 0, third.err
    assert "remembered)" not in third.out
    other = train(root, tmp_path, *AUTO, "explain=true", "loader.batch_size=3")
    assert "remembered)" not in other.out, "another batch is another step"


@pytest.mark.parametrize("mode", ["lazy", "cached", "eager"])
def test_a_mode_that_was_chosen_is_kept(root: Path, tmp_path: Path, mode: str) -> None:
    ended = train(root, tmp_path, *AUTO, f"mode={mode}", "explain=true")
    assert f"loader=auto: mode={mode}, " in ended.out
    assert f"loading: mode={mode}, " in ended.out


def test_budgets_bind_what_is_chosen(root: Path, tmp_path: Path) -> None:
    """Neither RAM nor disk may hold the rows, of 3 kB each: they are decoded each time."""
    small = ("memory.budget_gib=0.00012", "mode.cache_gib=0.00004")
    ended = train(root, tmp_path, *AUTO, *small)
    assert ended.code == 0, ended.err
    assert "loader=auto: mode=lazy" in ended.out


def test_workers_that_were_asked_for_are_kept(root: Path, tmp_path: Path) -> None:
    ended = train(root, tmp_path, *AUTO, "loader.num_workers=1", "loader.prefetch=3",
                  "explain=true")  # fmt: skip
    assert "1 threads, prefetch 3" in ended.out


def test_wrong_settings_are_told_before_anything_is_probed(root: Path, tmp_path: Path) -> None:
    ended = train(root, tmp_path, *AUTO, "model.target=tests.e2e.nets.Missing")
    assert ended.code == 2
    assert "Missing" in ended.line
    assert "auto" not in ended.out
    assert call("train", "loader=auto", "loader.probe_s=0").code == 2
