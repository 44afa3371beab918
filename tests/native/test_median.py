"""Centring natively against torch: the same bits at every width."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chirpid import native
from chirpid.audio.normalise import Normaliser
from tests.examples import examples

LIBRARY = native.handle()
pytestmark = pytest.mark.skipif(LIBRARY is None, reason="the native library is not there")
WIDTHS = range(LIBRARY.chirpid_widest() + 1) if LIBRARY is not None else range(0)
VALUES = st.sampled_from([-100.0, -99.99999, -100.5, -0.0, 0.0, 1e-42, -1e-42]) | st.floats(
    -120, 30, width=32
)
SPECTROGRAMS = hnp.arrays(np.float32, st.tuples(*[st.integers(1, n) for n in (2, 3, 70)]),
                          elements=VALUES)  # fmt: skip


def by_torch(normaliser: Normaliser, spec: torch.Tensor) -> torch.Tensor:
    return normaliser.centre(spec.clone().requires_grad_()).detach()


def check(normaliser: Normaliser, spec: torch.Tensor) -> None:
    wanted, before = by_torch(normaliser, spec), LIBRARY.chirpid_width()
    kept = spec.clone()
    for width in WIDTHS:
        LIBRARY.chirpid_use_width(width)
        found = normaliser.centre(spec)
        LIBRARY.chirpid_use_width(before)
        assert torch.equal(found.nan_to_num(7.0), wanted.nan_to_num(7.0))
    assert torch.equal(spec.nan_to_num(7.0), kept.nan_to_num(7.0))


@pytest.mark.parametrize("floor_db", [None, -100.0, -60.0])
@given(values=SPECTROGRAMS)
@settings(max_examples=examples(80), deadline=None)
def test_centring_gives_the_numbers_of_torch(floor_db: float | None, values: np.ndarray) -> None:
    normaliser = Normaliser(values.shape[1], clip_median=True, floor_db=floor_db)
    check(normaliser, torch.from_numpy(values))


@pytest.mark.parametrize("floor_db", [None, -100.0])
def test_silence_and_what_is_not_a_number_are_as_in_torch(floor_db: float | None) -> None:
    normaliser = Normaliser(4, clip_median=True, floor_db=floor_db)
    spec = torch.randn(3, 4, 501) * 10 - 50
    spec[0, 0, 100:] = -100.0
    spec[0, 1] = -100.0
    spec[1, 2, ::7] = torch.nan
    spec[1, 3] = torch.nan
    spec[2, 0, 5], spec[2, 1, 6] = torch.inf, -torch.inf
    check(normaliser, spec)
    check(normaliser, spec.transpose(1, 2).contiguous().transpose(1, 2))
