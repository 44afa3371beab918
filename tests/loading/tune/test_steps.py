"""What a step costs is told also where one step outlasts the time for measuring it."""

from __future__ import annotations

import pytest
import torch

from chirpid.data.kept import RowSpec
from chirpid.loading.tune.steps import repeated, step_costs
from chirpid.types import Keep, StoreDtype
from tests.loading.tune.models import Slow

SPEC = RowSpec(Keep.spectrogram, StoreDtype.float16, (4, 8))


@pytest.mark.parametrize("most_steps", [1, 100])
def test_a_step_that_outlasts_the_budget_is_made_once_and_keeps_its_cores(most_steps: int) -> None:
    dataset = repeated(SPEC, torch.ones((3, *SPEC.shape)), 10, 2**30)
    model = Slow(0.02)
    costs = step_costs(
        dataset, model, batch_size=4, budget_s=0.01, most_steps=most_steps, on_gpu=False
    )
    assert (model.num_steps, model.num_others) == (1, 0)
    assert costs.step_s >= 0.02
    assert costs.step_cores == pytest.approx(torch.get_num_threads())
    assert (costs.eval_s, costs.step_bytes) == (pytest.approx(costs.step_s / 3), 7)


def test_a_step_that_fits_is_made_several_times_and_taken_apart() -> None:
    dataset = repeated(SPEC, torch.ones((3, *SPEC.shape)), 10, 2**30)
    model = Slow(0.001)
    costs = step_costs(dataset, model, batch_size=4, budget_s=0.2, most_steps=50, on_gpu=False)
    assert model.num_steps > 2
    assert model.num_others >= 2
    assert costs.batch_size == 4
    assert 0.001 <= costs.step_s < 0.2
    assert costs.eval_s < costs.step_s  # validating is no step here


@pytest.mark.parametrize(
    ("row_s", "most_steps", "on_gpu", "rows"),
    [
        (0.002, 0.3, False, [16, 16]),  # of a training of 15 steps
        (0.002, 1.0, False, [16, 32]),
        (0.002, 3.0, False, [16, 64, 64, 64]),
        (0.002, 0.3, True, [64, 64]),
        (0.0001, 0.3, False, [16, 64]),  # a whole one is over soon
    ],
)
def test_a_short_training_is_measured_on_fewer_rows_than_a_batch_has(
    row_s: float, most_steps: float, on_gpu: bool, rows: list[int]
) -> None:
    dataset = repeated(SPEC, torch.ones((3, *SPEC.shape)), 100, 2**30)
    model = Slow(0.0, row_s)
    costs = step_costs(
        dataset, model, batch_size=64, budget_s=1.0, most_steps=most_steps, on_gpu=on_gpu
    )
    assert model.num_rows == rows
    assert model.num_others == 0
    assert costs.step_s == pytest.approx(64 * row_s, rel=0.3)
    assert costs.eval_s == pytest.approx(costs.step_s / 3)
