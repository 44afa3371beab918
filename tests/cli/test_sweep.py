"""Sweeps through Hydra's own sweeper and launcher; only training itself is stood in for."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

import chirpid.cli
from chirpid.cli.sweep import Outcome, grid_of, print_outcomes
from chirpid.cli.train import main
from chirpid.config.resolve import Resolved, SweepInfo
from chirpid.config.store import compose_raw
from chirpid.errors import Interrupted, TrainingError

Train = Callable[[Resolved, SweepInfo | None], float | None]
Trained = list[tuple[Resolved, SweepInfo]]


@pytest.fixture
def use_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Train], None]:
    monkeypatch.chdir(tmp_path)

    def use(train: Train) -> None:
        session = types.ModuleType("chirpid.cli.session")
        session.train = train  # type: ignore[attr-defined]
        session.explain = lambda resolved: None  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "chirpid.cli.session", session)
        monkeypatch.setattr(chirpid.cli, "session", session, raising=False)

    return use


@pytest.fixture
def trained(use_training: Callable[[Train], None]) -> Trained:
    runs: Trained = []

    def train(resolved: Resolved, sweep: SweepInfo | None) -> float:
        assert sweep is not None
        runs.append((resolved, sweep))
        return len(runs) / 10

    use_training(train)
    return runs


def test_a_sweep_runs_every_combination_once_and_tells_each_its_place(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", "mode=lazy,eager", "seed=1,2", "engine=tiny", "model.params.extra=3"]) == 0
    modes = [(run.config.mode.name.value, run.config.seed) for run, _ in trained]
    assert modes == [("lazy", 1), ("lazy", 2), ("eager", 1), ("eager", 2)]
    assert [(sweep.job, sweep.num_jobs) for _, sweep in trained] == [(n, 4) for n in range(4)]
    assert len({sweep.id for _, sweep in trained}) == 1
    assert all(run.config.engine.epochs == 2 for run, _ in trained)
    assert all(run.config.model.params["extra"] == 3 for run, _ in trained)
    assert trained[2][0].sources["mode.name"] == "conf/mode/eager.yaml"
    assert trained[2][0].sources["seed"] == "command line"
    out = capsys.readouterr().out
    assert "Sweep of 4 jobs" in out
    assert "mode=eager seed=2" in out
    assert "0.4000" in out
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    (folder,) = (tmp_path / "outputs" / "sweeps").iterdir()
    assert folder.name == trained[0][1].id
    assert [path.name for path in folder.iterdir()] == ["multirun.yaml"]
    assert not GlobalHydra.instance().is_initialized()


def test_a_search_of_the_tree_sweeps_without_a_flag(trained: Trained) -> None:
    assert main(["hparams_search=leakage", "engine=tiny"]) == 0
    assert [run.config.cv.group_by.value for run, _ in trained] == ["group", "recording", "segment"]


def test_outputs_of_a_sweep_go_where_paths_outputs_says(trained: Trained, tmp_path: Path) -> None:
    assert main(["-m", "seed=1,2", "paths.outputs=it's here"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["it's here"]


def test_a_wrong_job_is_refused_before_the_first_one_runs(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-m", "optim.warmup_epochs=1,50"]) == 2
    assert trained == []
    assert list(tmp_path.iterdir()) == []
    line = capsys.readouterr().err
    assert line.startswith("config error: job optim.warmup_epochs=50: optim.warmup_epochs=50.0")


def test_a_job_that_fails_is_told_and_the_others_run(
    use_training: Callable[[Train], None], capsys: pytest.CaptureFixture[str]
) -> None:
    def train(resolved: Resolved, sweep: SweepInfo | None) -> float:
        if resolved.config.seed == 1:
            raise TrainingError("loss is NaN")
        return 0.5

    use_training(train)
    assert main(["-m", "seed=1,2"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "training error: loss is NaN\n"
    assert "training error: loss is NaN" in captured.out
    assert "failed" in captured.out
    assert "0.5000" in captured.out


def test_ctrl_c_ends_the_whole_sweep(
    use_training: Callable[[Train], None], capsys: pytest.CaptureFixture[str]
) -> None:
    seeds = []

    def train(resolved: Resolved, sweep: SweepInfo | None) -> float:
        seeds.append(resolved.config.seed)
        raise Interrupted("resume with resume=auto")

    use_training(train)
    assert main(["-m", "seed=1,2,3"]) == 130
    assert seeds == [1]
    assert capsys.readouterr().err == "interrupted: resume with resume=auto\n"


def test_a_single_run_gets_no_sweep_and_writes_nothing_of_hydras(
    use_training: Callable[[Train], None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[SweepInfo | None] = []

    def train(resolved: Resolved, sweep: SweepInfo | None) -> None:
        seen.append(sweep)

    use_training(train)
    assert main(["mode=lazy", "mode.cache_gib=3"]) == 0
    assert seen == [None]
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().err == (
        "note: mode.cache_gib (command line) has no effect: mode=lazy writes no cache.\n"
    )


def test_explain_names_every_setting_with_its_origin_and_trains_nothing(
    trained: Trained, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["--explain", "mode=lazy", "seed=5"]) == 0
    assert trained == []
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["seed", "5", "command", "line"] in rows
    assert ["mode.name", "lazy", "conf/mode/lazy.yaml"] in rows
    assert ["loader.num_workers", "null", "default"] in rows


def test_the_grid_is_the_one_that_hydra_runs() -> None:
    overrides = ["seed=range(1,4)", "mode=glob(*a*,exclude=l*)", "engine=tiny"]
    jobs = grid_of(compose_raw(overrides, sweep=True), overrides)
    assert jobs is not None
    assert len(jobs) == 3 * 3
    assert jobs[0] == ["seed=1", "mode=cached", "engine=tiny"]


def test_outcomes_show_only_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    print_outcomes(
        [Outcome(("a=1", "b=[2]"), 0.5, None, 1.0), Outcome(("a=2", "b=[2]"), None, None, 2.0)], "m"
    )
    out = capsys.readouterr().out
    assert "a=1" in out
    assert "b=[2]" not in out
    print_outcomes([], "m")
    assert capsys.readouterr().out == ""
