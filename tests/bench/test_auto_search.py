"""The search for the best fixed setting: who is run how often, and what the table says."""

from __future__ import annotations

import pytest

from chirpid.bench.auto.search import NEAR, markdown, search
from chirpid.bench.auto.workloads import AUTO, TORCH, WORKLOADS, Fixed, fixed_settings
from chirpid.config.store import compose
from chirpid.errors import BenchmarkError

SECONDS = {"near": 1.1, "best": 1.0, "far": NEAR + 0.2, AUTO.name: 1.5, TORCH.name: 4.0}
SETTINGS = [Fixed("near"), Fixed("best"), Fixed("far"), Fixed("too large")]


class Machine:
    """Takes the seconds of `SECONDS`; each time a setting is run again, a tenth more."""

    def __init__(self, losses: dict[str, float] | None = None) -> None:
        self.asked: list[str] = []
        self.losses = losses or {}

    def __call__(self, setting: Fixed) -> dict[str, object]:
        self.asked.append(setting.name)
        if setting.name not in SECONDS:
            return {"refused": "over the budget"}
        seconds = SECONDS[setting.name] + 0.1 * (self.asked.count(setting.name) - 1)
        return {"total_s": seconds, "prepare_s": 0.1, "open_s": 0.0, "samples_per_s": 10.0,
                "wait_share": 0.0, "chosen": setting.name,
                "loss": self.losses.get(setting.name, 0.5)}  # fmt: skip


def test_only_what_could_be_best_is_run_again_and_auto_always() -> None:
    machine = Machine()
    rows = search(WORKLOADS[0], SETTINGS, machine, turns=3, say=lambda line: None)
    times = {name: machine.asked.count(name) for name in (*SECONDS, "too large")}
    assert times == {"near": 3, "best": 3, "far": 1, "auto": 3, TORCH.name: 1, "too large": 1}
    best = next(row for row in rows if row.setting == "best")
    assert (best.total_s, best.spread) == (1.1, (1.0, 1.2))
    assert next(row for row in rows if row.setting == "too large").refused == "over the budget"
    line = markdown(rows, WORKLOADS[:1]).splitlines()[2]
    assert "best: 1.10 s" in line
    assert "far: 1.45 s" in line
    assert "+45 %" in line  # 1.6 against 1.1
    assert "4.00 s, 2.5×" in line


def test_settings_that_learn_something_else_end_the_search() -> None:
    with pytest.raises(BenchmarkError, match="different losses"):
        search(WORKLOADS[0], SETTINGS, Machine({"far": 0.6}), turns=1, say=lambda line: None)


def test_every_workload_and_setting_is_one_that_a_user_could_type() -> None:
    settings = (*fixed_settings(2), AUTO, TORCH)
    with_own = [workload for workload in WORKLOADS if workload.overrides]
    assert with_own
    # A loader can contradict only what else is named: workloads that differ in epochs and width
    # are alike to it.
    pairs = [(workload, AUTO) for workload in WORKLOADS]
    pairs += [(workload, one) for workload in (WORKLOADS[0], *with_own) for one in settings]
    for workload, setting in pairs:
        config = compose(["dataset.root=x", *workload.all_overrides(), *setting.overrides]).config
        assert config.engine.epochs == workload.epochs
        assert config.model.params["width"] == workload.width
    assert len({one.name for one in fixed_settings(8)}) == len(fixed_settings(8))
