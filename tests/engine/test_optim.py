"""Rates, weights and losses follow their formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from chirpid.engine.optim import (
    class_weights,
    learning_rate,
    make_optimiser,
    soft_cross_entropy,
)


@given(
    warmup=st.integers(0, 50), total=st.integers(1, 200), peak=st.floats(1e-6, 1.0),
)  # fmt: skip
def test_the_rate_rises_to_its_peak_and_falls_to_nearly_zero(
    warmup: int, total: int, peak: float
) -> None:
    warmup = min(warmup, total - 1)
    rates = [learning_rate(s, peak=peak, warmup_steps=warmup, total_steps=total)
             for s in range(total + 1)]  # fmt: skip
    assert all(0 <= rate <= peak * (1 + 1e-9) for rate in rates)
    assert rates[warmup] == pytest.approx(peak)
    steps = np.diff(rates) / peak
    assert (steps[:warmup] > -1e-9).all()
    assert (steps[warmup:] < 1e-9).all()
    assert rates[total] == pytest.approx(0, abs=peak * 1e-6)


def test_a_class_four_times_as_frequent_weighs_half_and_an_absent_one_nothing() -> None:
    weights = class_weights(np.array([0] * 8 + [1] * 2), 3)
    assert weights[0] * 2 == pytest.approx(float(weights[1]))
    assert float(weights[:2].mean()) == pytest.approx(1)
    assert weights[2] == 0


def test_the_loss_is_torchs_where_torch_has_one() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(7, 4), torch.randint(4, (7,))
    target, ones = torch.eye(4)[labels], torch.ones(4)
    for smoothing in (0.0, 0.1):
        ours = soft_cross_entropy(logits, target, ones, smoothing)
        theirs = nn.functional.cross_entropy(logits, labels, label_smoothing=smoothing)
        assert ours == pytest.approx(float(theirs), rel=1e-5)


def test_a_weighed_class_counts_so_much_more() -> None:
    logits, target = torch.randn(2, 3), torch.eye(3)[[0, 1]]
    one = soft_cross_entropy(logits[:1], target[:1], torch.ones(3), 0.0)
    two = soft_cross_entropy(logits[1:], target[1:], torch.ones(3), 0.0)
    both = soft_cross_entropy(logits, target, torch.tensor([3.0, 1.0, 1.0]), 0.0)
    assert both == pytest.approx(float(3 * one + two) / 2, rel=1e-5)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_biases_and_norms_are_not_decayed(name: str) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Linear(2, 2))
    groups = make_optimiser(name, model, lr=0.1, weight_decay=0.5).param_groups
    decayed = {id(p) for group in groups if group["weight_decay"] for p in group["params"]}
    assert decayed == {id(model[0].weight), id(model[2].weight)}
    assert sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
