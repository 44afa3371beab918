"""Statistics are those of the training part, whoever measured what before."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.data.datasets import TensorDataset
from chirpid.data.kept import RowSpec
from chirpid.data.stats import BandStats
from chirpid.loading.backends.inline import InlineBackend
from chirpid.seeds import keys_of
from chirpid.types import Keep, Mode, StoreDtype

M, F, N = 6, 20, 50
ROWS = torch.randn(N, M, F, generator=torch.Generator().manual_seed(0)) * 12 - 60
SPEC = RowSpec(Keep.spectrogram, StoreDtype.float32, (M, F))
KEYS = keys_of(str(n) for n in range(N))


def bands(max_segments: int = 1000) -> BandStats:
    dataset = TensorDataset(SPEC, ROWS, Mode.eager)
    return stats_of(dataset, max_segments)


def stats_of(dataset: TensorDataset, max_segments: int = 1000) -> BandStats:
    run = InlineBackend(dataset).run
    return BandStats(run, KEYS, lambda rows: rows, max_segments=max_segments)


PARTS = st.lists(st.integers(0, N - 1), min_size=1, unique=True).map(
    lambda ids: np.array(ids, dtype=np.int64)
)


@settings(deadline=None)
@given(PARTS)
def test_they_are_the_mean_and_deviation_of_that_part_alone(ids) -> None:
    part = ROWS[torch.from_numpy(ids)].double().permute(1, 0, 2).reshape(M, -1)
    mean, deviation = bands().of(ids, per_band=True)
    assert torch.allclose(mean.double(), part.mean(dim=1), atol=1e-4)
    assert torch.allclose(deviation.double(), part.std(dim=1, correction=0), atol=1e-4)
    mean, deviation = bands().of(ids, per_band=False)
    assert torch.allclose(mean.double(), part.mean().expand(M), atol=1e-4)
    assert torch.allclose(deviation.double(), part.std(correction=0).expand(M), atol=1e-4)


@settings(deadline=None)
@given(PARTS, PARTS)
def test_what_was_measured_for_another_fold_changes_no_bit(first, second) -> None:
    used = bands(max_segments=12)
    used.of(first, per_band=True)
    alone = bands(max_segments=12).of(second[::-1].copy(), per_band=True)
    for found, wanted in zip(used.of(second, per_band=True), alone, strict=True):
        assert torch.equal(found, wanted)


def test_no_more_segments_than_asked_for_are_measured_and_folds_share_them() -> None:
    stats = bands(max_segments=10)
    stats.of(np.arange(N), per_band=True)
    assert len(stats._sums) == 10
    stats.of(np.arange(5, N), per_band=True)
    assert len(stats._sums) < 20


def test_the_validation_part_does_not_matter() -> None:
    ids = np.arange(20)
    before = bands().of(ids, per_band=True)
    other = ROWS.clone()
    other[20:] = 1e6
    stats = stats_of(TensorDataset(SPEC, other, Mode.eager))
    for found, wanted in zip(stats.of(ids, per_band=True), before, strict=True):
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("level", [-100.0, 3e4])
def test_a_constant_has_no_deviation_and_no_nan(level: float) -> None:
    stats = stats_of(TensorDataset(SPEC, torch.full((N, M, F), level), Mode.eager))
    mean, deviation = stats.of(np.arange(N), per_band=True)
    assert torch.equal(mean, torch.full((M,), level))
    assert torch.equal(deviation, torch.zeros(M))
