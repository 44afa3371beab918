"""Narrowing natively gives the bits that torch gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from chirpid import native
from chirpid.data.kept import INT16_SCALE, RowSpec
from chirpid.native.narrow import narrow, through_kept
from chirpid.types import Keep, StoreDtype

pytestmark = pytest.mark.skipif(native.handle() is None, reason="no native library")

NARROW = [StoreDtype.float16, StoreDtype.int16, StoreDtype.uint8]


def telling_values() -> torch.Tensor:
    """Return every float16, what lies between them, the floats next to that, and any others."""
    halves = torch.arange(2**16).to(torch.int32).to(torch.int16).view(torch.float16).float()
    halves = halves[halves.isfinite()].sort().values
    between = ((halves[1:].double() + halves[:-1].double()) / 2).float()
    beside = [
        torch.from_numpy(np.nextafter(between.numpy(), np.float32(to))) for to in (-np.inf, np.inf)
    ]
    steps = (torch.arange(-40000, 40000) + 0.5) / 32767
    levels = -110 + torch.arange(1200) * 0.1
    rng = np.random.default_rng(0)
    bits = torch.from_numpy(rng.integers(-(2**31), 2**31, 200_000).astype(np.int32))
    others = bits.view(torch.float32)
    ends = torch.tensor([0.0, -0.0, 1e30, -1e30, 65504, 65519.9, 65520, 65536, torch.inf])
    parts = [halves, between, *beside, steps, levels, others[others.isfinite()], ends]
    return torch.cat(parts)


@pytest.mark.parametrize("width", [0, 1, 2])
@pytest.mark.parametrize("dtype", NARROW)
def test_the_bits_are_those_of_torch(
    dtype: StoreDtype, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = telling_values()
    low, high = (-100.0, 4.9) if dtype is StoreDtype.uint8 else (0.0, 1.0)
    spec = RowSpec(Keep.spectrogram, dtype, (len(values),), low=low, high=high)
    scale = INT16_SCALE if dtype is StoreDtype.int16 else spec.scale
    kept = torch.empty(len(values), dtype=spec.torch_dtype)
    found = torch.empty_like(kept)
    with monkeypatch.context() as patch:
        patch.setattr("chirpid.data.kept.handle", lambda: None)
        spec.narrow(values, kept)
    library = native.handle()
    before = library.chirpid_width()
    try:
        if library.chirpid_use_width(width):
            pytest.skip("this processor is narrower")
        narrow(
            dtype.value, values.data_ptr(), found.data_ptr(), len(values),
            scale=scale, offset=spec.offset,
        )  # fmt: skip
        through_kept(
            dtype.value, values.data_ptr(), len(values),
            scale=scale, step=spec.scale, offset=spec.offset,
        )  # fmt: skip
    finally:
        library.chirpid_use_width(before)
    assert kept.numpy().tobytes() == found.numpy().tobytes()
    back = spec.widen(kept, torch.empty(len(kept)))
    assert back.numpy().tobytes() == values.numpy().tobytes()


def test_what_is_not_a_number_does_no_harm() -> None:
    for dtype in NARROW:
        values = torch.tensor([torch.nan, 0.5])
        through_kept(dtype.value, values.data_ptr(), 2, scale=1.0, step=1.0, offset=0.0)
        assert dtype is not StoreDtype.float16 or values[0].isnan()
        assert values[1] in (0.5, 0.0)
