"""The measured error of a number type is that of its rows."""

from __future__ import annotations

import json
import threading
from dataclasses import asdict

import numpy as np
import pytest
import torch

from chirpid.data.kept import RowSpec
from chirpid.data.rounding import MEASURE_EVERY, Rounding
from chirpid.storage.facts import RoundingError, rounding_error
from chirpid.types import Keep, StoreDtype

RANGES = {StoreDtype.uint8: (-100.0, 5.0)}


def spec_of(dtype: StoreDtype, size: int = 500) -> RowSpec:
    return RowSpec(Keep.spectrogram, dtype, (size,), *RANGES.get(dtype, (0.0, 1.0)))


def measured(spec: RowSpec, rows: torch.Tensor) -> Rounding:
    rounding = Rounding(spec, "dB")
    for index, values in enumerate(rows):
        kept = torch.empty(spec.shape, dtype=spec.torch_dtype)
        spec.narrow(values, kept)
        rounding.watch(index * MEASURE_EVERY, values, kept)
    return rounding


@pytest.mark.parametrize("dtype", list(StoreDtype))
def test_worst_and_rms_are_those_of_numpy(dtype: StoreDtype) -> None:
    spec = spec_of(dtype)
    level = 1.0 if dtype is StoreDtype.int16 else 100.0
    rows = -level * torch.rand(20, 500, generator=torch.Generator().manual_seed(1))
    kept = torch.empty((20, 500), dtype=spec.torch_dtype)
    spec.narrow(rows, kept)
    wanted = kept.double().numpy() * spec.scale + spec.offset - rows.double().numpy()
    found = measured(spec, rows).result()
    assert found is not None
    assert found.worst == pytest.approx(np.abs(wanted).max(), rel=1e-2, abs=1e-9)
    assert found.rms == pytest.approx(np.sqrt((wanted**2).mean()), rel=1e-2, abs=1e-9)
    assert (found.num_rows, found.clipped, found.dtype) == (20, 0.0, dtype.value)


def test_steps_of_equal_size_err_as_theory_says() -> None:
    spec = spec_of(StoreDtype.uint8, 20_000)
    rows = -90 * torch.rand(4, 20_000, generator=torch.Generator().manual_seed(2))
    found = measured(spec, rows).result()
    assert found is not None
    assert found.worst == pytest.approx(spec.scale / 2, rel=1e-3)
    assert found.rms == pytest.approx(spec.scale / np.sqrt(12), rel=2e-2)


@pytest.mark.parametrize(
    ("dtype", "inside", "beyond"),
    [
        (StoreDtype.uint8, [-100.0, 5.0, 5.2, -100.2], [5.3, -100.3, 40.0, -1e9]),
        (StoreDtype.int16, [1.0, -1.0, 0.0], [1.1, -1.1, 7.0]),
        (StoreDtype.float16, [65504.0, -65504.0], [7e4, -1e9]),
        (StoreDtype.float32, [3e38, -3e38], []),
    ],
)
def test_only_what_is_out_of_reach_counts_as_clipped(dtype, inside, beyond) -> None:
    values = torch.tensor([inside + beyond])
    found = measured(spec_of(dtype, values.shape[1]), values).result()
    assert found is not None
    assert found.clipped == pytest.approx(len(beyond) / values.shape[1])
    assert ("of the values clipped" in found.text()) == bool(beyond)


def test_one_row_in_so_many_is_measured_and_threads_do_not_lose_any() -> None:
    spec = spec_of(StoreDtype.float16)
    rounding, kept = Rounding(spec, "dB"), torch.zeros(500, dtype=torch.float16)
    assert rounding.result() is None
    about: dict[str, object] = {}
    rounding.note(about)
    assert about == {}

    def watch() -> None:
        for index in range(50 * MEASURE_EVERY):
            rounding.watch(index, torch.ones(500), kept)

    threads = [threading.Thread(target=watch) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = rounding.result()
    assert found is not None
    assert (found.num_rows, found.worst, found.rms) == (150, 1.0, 1.0)


def test_the_error_comes_back_from_the_facts_of_a_cache() -> None:
    rounding = measured(spec_of(StoreDtype.uint8), -50 * torch.rand(3, 500))
    about: dict[str, object] = {"dataset": "wrens"}
    rounding.note(about)
    assert rounding_error(json.loads(json.dumps(about))) == rounding.result()
    for wrong in ({}, None, [], {"error": 3}, {"error": {"worst": 1}}):
        assert rounding_error(wrong) is None
    assert asdict(rounding.result())["unit"] == "dB"


def test_figures_are_told_with_their_unit() -> None:
    error = RoundingError("int16", "of full scale", 9, worst=0.43, rms=0.00028, clipped=1.7e-5)
    assert error.text() == (
        "0.43 of full scale off at most, 0.00028 of full scale rms, 0.0017 % of the values clipped"
    )
    assert error.short() == "0.43 of full scale, 0.0017 % clipped"
    assert RoundingError("uint8", "dB", 9, 0.2059, 0.12, 0.0).short() == "0.21 dB"
    assert RoundingError("float16", "", 9, 0.01, 0.002, 0.0).text() == (
        "0.01 off at most, 0.002 rms, nothing clipped"
    )
    assert RoundingError("float32", "dB", 9, 0.0, 0.0, 0.0).text() == "exact"
