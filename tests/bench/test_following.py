"""Following advice: what is promised is held against what the same training comes to."""

from __future__ import annotations

import pytest

from chirpid.bench.auto.following import follow, markdown, starts
from chirpid.bench.auto.workloads import WORKLOADS, Fixed
from chirpid.config.store import compose
from chirpid.errors import BenchmarkError


class Machine:
    """Comes to 100 samples a second, and to 180 as advised."""

    def __init__(self, *overrides: str, loss: float = 0.5, others_share: float = 0.0) -> None:
        self.overrides, self.loss, self.others_share = overrides, loss, others_share
        self.asked: list[tuple[str, ...]] = []

    def __call__(self, setting: Fixed) -> dict[str, object]:
        self.asked.append(setting.overrides)
        follows = bool(self.overrides) and setting.overrides[-1:] == self.overrides[-1:]
        advice = {"sentence": "Do it.", "bound": "decode", "overrides": list(self.overrides),
                  "predicted_gain": 2.0 if self.overrides else 1.0,
                  "others_share": self.others_share}  # fmt: skip
        return {"samples_per_s": 180.0 if follows else 100.0, "advice": advice,
                "loss": self.loss if follows else 0.5}  # fmt: skip


def test_the_share_of_a_promise_that_came_true_is_told() -> None:
    machine, start = Machine("mode=cached"), starts(2)[0]
    row = follow(WORKLOADS[0], start, machine, turns=2, say=lambda line: None)
    assert machine.asked == 2 * [start.overrides, (*start.overrides, "mode=cached")]
    assert row.achieved_gain == pytest.approx(1.8)
    assert row.kept_share == pytest.approx(0.8)
    assert "2.00× | 1.80× | 80 %" in markdown([row])


def test_a_run_beside_others_promised_nothing_and_tests_nothing() -> None:
    machine = Machine("mode=cached", others_share=0.25)
    row = follow(WORKLOADS[0], starts(2)[0], machine, turns=1, say=lambda line: None)
    assert (row.achieved_gain, row.kept_share) == (pytest.approx(1.8), None)
    assert "none: others had 25% of its core time | 1.80× |  |" in markdown([row])


def test_nothing_is_run_again_where_nothing_was_advised() -> None:
    machine = Machine()
    row = follow(WORKLOADS[0], starts(2)[0], machine, turns=2, say=lambda line: None)
    assert len(machine.asked) == 1
    assert row.achieved_gain is row.kept_share is None
    assert "nothing" in markdown([row])


def test_advice_that_changes_what_is_learnt_ends_it() -> None:
    with pytest.raises(BenchmarkError, match="different losses"):
        follow(WORKLOADS[0], starts(2)[0], Machine("mode=cached", loss=0.6), turns=1,
               say=lambda line: None)  # fmt: skip


def test_poor_settings_are_ones_that_a_user_could_type() -> None:
    for start in starts(2):
        config = compose(["dataset.root=x", *WORKLOADS[0].all_overrides(), *start.overrides]).config
        assert config.mode.name.value == "lazy"
