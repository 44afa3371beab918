"""Memory that passes take is seen, and views take none."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import Tensor

from chirpid.bench.footprint import MIB
from chirpid.bench.peaks import new_tensors_kib, peak_own_mib, peaks
from chirpid.bench.timing import Pass

ROWS = torch.zeros((64, 256))
ROW_KIB = 1
IDS, KEPT = torch.arange(8), torch.zeros((8, 256))
LARGE_MIB = 96


def large() -> Tensor:
    return torch.ones(LARGE_MIB * 2**18)


def test_the_peak_counts_what_is_held_together_and_not_what_came_one_after_another() -> None:
    held = []
    assert peak_own_mib(large() for _ in range(3)) == pytest.approx(LARGE_MIB, rel=0.5)
    assert peak_own_mib(held.append(large()) for _ in range(2)) > 1.8 * LARGE_MIB


def test_shared_memory_counts_and_what_was_there_before_does_not() -> None:
    kept = large()

    def shares() -> Iterator[object]:
        shared = mmap.mmap(-1, LARGE_MIB * MIB)
        np.frombuffer(shared, dtype=np.uint8)[:] = 1
        yield shared

    assert peak_own_mib(shares()) == pytest.approx(LARGE_MIB, rel=0.5)
    assert len(kept)


def test_ways_begin_anew_in_each_turn_and_go_through_two_epochs() -> None:
    told: list[str] = []

    @contextmanager
    def opening() -> Iterator[Pass]:
        def run(seed: int) -> Iterator[object]:
            told.append(f"epoch {seed}")
            yield ROWS

        told.append("begins")
        yield run
        told.append("ends")

    figures = peaks({"way": opening}, [3, 4])
    assert set(figures["way"]) == {"peak_own_mib"}
    assert told == [
        "begins", "epoch 3", "epoch 4", "ends", "begins", "epoch 4", "epoch 5", "ends",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "rows_made"),
    [
        (lambda first: ROWS[first : first + 8], 0),
        (lambda first: ROWS[first : first + 8].clone(), 8),
        (lambda first: torch.stack([ROWS[first + place] for place in range(8)]), 8),
        (lambda first: ROWS[first : first + 8].mul(2).add(1), 16),
        (lambda first: torch.index_select(ROWS, 0, IDS + first, out=KEPT), 8 * 8 / 1024),
    ],
)
def test_new_tensors_are_counted_and_views_and_kept_memory_are_not(
    make: Callable[[int], Tensor], rows_made: float
) -> None:
    made = new_tensors_kib(make(first) for first in range(0, 32, 8))
    assert made == pytest.approx(rows_made * ROW_KIB, abs=0.001)
