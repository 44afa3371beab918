"""Batches on their way through workers: order, slots, parts, passes that are left."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chirpid.errors import DataError
from chirpid.types import Mode
from tests.examples import examples
from tests.loading.test_backends import NUM, Rows, backend_of, first_values

WORKERS = ("threads", "processes")


class Shaken(Rows):
    """Some rows take far longer than others, so that batches are done in another order."""

    def fetch(self, ids, out=None):
        for _ in range(int(sum(ids.tolist()) * 2654435761 % 7) * 200):
            pass
        return super().fetch(ids, out)


def batches_from(sizes: list[int], seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, NUM, size) for size in sizes]


@settings(max_examples=examples(20), deadline=None)
@example(name="threads", mode=Mode.lazy, num_workers=1, prefetch=1, passes=[([0, 0], 2)], seed=0)
@example(name="processes", mode=Mode.lazy, num_workers=1, prefetch=1, passes=[([0, 0], 2)], seed=0)
@given(
    name=st.sampled_from(WORKERS),
    mode=st.sampled_from([Mode.lazy, Mode.cached]),
    num_workers=st.integers(1, 4),
    prefetch=st.integers(1, 3),
    passes=st.lists(
        st.tuples(st.lists(st.integers(0, 9), max_size=12), st.integers(0, 12)),
        min_size=1,
        max_size=4,
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_rows_come_in_order_and_stay_valid_whatever_is_left_half_way(
    name, mode, num_workers, prefetch, passes, seed
) -> None:
    dataset = Shaken()
    dataset.mode = mode  # lazy sets are made in parts at the ends of a pass, others are not
    backend = backend_of(name, dataset, num_workers=num_workers, prefetch=prefetch)
    before = None
    try:
        for sizes, upto in passes:
            batches = batches_from(sizes, seed)
            passing = backend.run(batches)
            for expected, batch in zip(batches[:upto], passing, strict=False):
                assert batch.ids.tolist() == expected.tolist()
                rows = torch.from_numpy(expected).float()[:, None].expand(-1, 16)
                assert torch.equal(batch.inputs, rows)
                if before is not None:  # that of the pass before, too
                    assert torch.equal(before[0], before[1])
                before = batch.inputs, batch.inputs.clone()
            passing.close()
        whole = batches_from([3] * 9, seed)
        assert first_values(backend, whole) == [list(b) for b in whole]
    finally:
        backend.close()


class Interrupts(Rows):
    """Presses Ctrl-C, as it were, while the caller waits for the batch with id 20."""

    def __init__(self) -> None:
        super().__init__()
        self.caller = os.getpid()

    def fetch(self, ids, out=None):
        if 20 in ids:
            os.kill(self.caller, signal.SIGINT)
        return super().fetch(ids, out)


def until_the_signal(passing) -> None:
    for _batch in passing:
        pass
    while True:  # the last batch may come before the signal does
        time.sleep(0.01)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", WORKERS)
def test_after_ctrl_c_in_the_midst_of_a_pass_the_next_is_whole(name: str) -> None:
    backend = backend_of(name, Interrupts())
    batches = np.arange(NUM).reshape(-1, 4)
    try:
        for _ in range(3):
            with pytest.raises(KeyboardInterrupt):
                until_the_signal(backend.run(batches))
            assert first_values(backend, batches[:5]) == [list(b) for b in batches[:5]]
    finally:
        backend.close()


@pytest.mark.parametrize("name", WORKERS)
def test_workers_never_run_ahead_of_the_slots(name: str) -> None:
    class Counting(Rows):
        mode = Mode.cached

    backend = backend_of(name, Counting(), num_workers=2, prefetch=3)
    batches = np.arange(NUM).reshape(-1, 1)
    try:
        passing = backend.run(batches)
        for number in range(1, 6):
            next(passing)
            in_work = len(backend._line)
            assert in_work + len(backend._held) + len(backend._free) == 2 * 3 + 2
            assert in_work == 2 * 3 + 1 if number == 1 else in_work == 2 * 3
        passing.close()
    finally:
        backend.close()


@pytest.mark.parametrize("name", WORKERS)
def test_one_iterator_at_a_time(name: str) -> None:
    backend = backend_of(name, Rows())
    batches = np.arange(NUM).reshape(-1, 4)
    try:
        older = backend.run(batches)
        next(older)
        newer = backend.run(batches)
        next(newer)
        with pytest.raises(AssertionError, match="another pass has begun"):
            next(older)
        assert [b.ids[0] for b in newer] == list(range(4, NUM, 4))
    finally:
        backend.close()


def test_a_batch_in_parts_names_the_first_of_its_bad_rows() -> None:
    class Bad(Rows):
        def fetch(self, ids, out=None):
            for row in ids.tolist():
                if row in (2, 3):
                    raise DataError(f"row {row} is bad.")
            return super().fetch(ids, out)

    for name in WORKERS:
        backend = backend_of(name, Bad(), num_workers=4, prefetch=1)
        for _ in range(5):
            with pytest.raises(DataError, match="row 2 is bad"):
                list(backend.run([np.arange(4)]))
        backend.close()
