"""Samples made ahead are the samples, in order, and threads end with what needs them."""

from __future__ import annotations

import gc
import os
import pickle
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, SequentialSampler
from torch.utils.data import default_collate as collate

from chirpid.data.wrap.prefetch import AsyncPrefetchDataset
from chirpid.data.wrap.vectorized import VectorizedDataset
from chirpid.errors import ConfigError
from tests.data.wrap.alike import alike, same
from tests.data.wrap.sets import Base, Failing, Fixed, Reader, Varied


def num_threads() -> int:
    return sum(thread.name.startswith("chirpid-ahead") for thread in threading.enumerate())


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    gc.collect()
    assert num_threads() == 0
    assert torch.get_num_threads() == before


@given(
    order=st.lists(st.integers(0, 39), max_size=30),
    num_threads=st.integers(1, 3),
    depth=st.integers(1, 6),
)
def test_samples_come_in_the_order_that_was_given(
    order: list[int], num_threads: int, depth: int
) -> None:
    plain = Fixed()
    ahead = AsyncPrefetchDataset(plain, order, num_threads=num_threads, depth=depth)
    for _ in range(2):
        assert all(map(alike, ahead, map(plain.make, order)))
    assert len(ahead) == len(order)


class Uneven(Base):
    """The longer the earlier."""

    def make(self, index: int) -> Any:
        time.sleep(0.02 if index % 4 == 0 else 0)
        return index


def test_samples_that_are_done_early_wait_for_their_turn() -> None:
    assert list(AsyncPrefetchDataset(Uneven(), num_threads=4)) == list(range(40))


@pytest.mark.parametrize("kind", [Fixed, Reader])
def test_batches_are_those_of_the_default_loader(kind: type[Base]) -> None:
    batches = BatchSampler(SequentialSampler(range(40)), 7, drop_last=False)
    ahead = AsyncPrefetchDataset(kind(), batches, num_threads=2)
    expected = list(DataLoader(kind(), batch_size=7))
    got = list(ahead)  # all held at once
    assert same(got, expected)
    assert len(ahead) == len(expected)
    arrays = [np.arange(3), torch.tensor([5, 4]), (9,)]
    for got, ids in zip(AsyncPrefetchDataset(kind(), arrays), arrays, strict=True):
        assert same(got, collate([kind()[int(i)] for i in ids]))


def test_batches_of_any_samples_are_made_as_the_user_says() -> None:
    ahead = AsyncPrefetchDataset(Varied(), [[1, 2], [3]], collate=list)
    assert [len(batch) for batch in ahead] == [2, 1]


def test_loader_of_torch_iterates_over_it() -> None:
    plain = Reader()
    assert same(
        list(DataLoader(AsyncPrefetchDataset(plain), batch_size=6)),
        list(DataLoader(plain, batch_size=6)),
    )
    sampler = RandomSampler(plain, generator=torch.Generator().manual_seed(3))
    ahead = AsyncPrefetchDataset(plain, sampler, num_threads=2)
    loader = DataLoader(
        plain, sampler=RandomSampler(plain, generator=torch.Generator().manual_seed(3))
    )
    for _ in range(2):
        assert same(list(DataLoader(ahead)), list(loader))


def test_worker_processes_divide_the_order() -> None:
    ahead = pickle.loads(pickle.dumps(AsyncPrefetchDataset(Reader(), num_threads=2)))
    loader = DataLoader(ahead, batch_size=None, num_workers=2, multiprocessing_context="fork")
    assert same(list(loader), [list(Reader().make(index)) for index in range(40)])


def test_error_is_raised_in_the_place_of_its_sample() -> None:
    rows = iter(AsyncPrefetchDataset(Failing(), num_threads=2, depth=8))
    assert [next(rows)["rest"][1] for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="sample 3 is broken"):
        next(rows)
    assert [row["rest"][1] for row in rows] == list(range(4, 40))


def test_error_of_the_order_is_raised_after_what_came_before() -> None:
    class Order:
        def __iter__(self) -> Iterator[int]:
            yield from (1, 2)
            raise RuntimeError("no more")

    rows = iter(AsyncPrefetchDataset(Uneven(), Order(), depth=8))
    assert [next(rows), next(rows)] == [1, 2]
    with pytest.raises(RuntimeError, match="no more"):
        next(rows)
    rows = iter(AsyncPrefetchDataset(Uneven(), [1, 0.5], depth=8))
    assert next(rows) == 1
    with pytest.raises(TypeError):
        next(rows)


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_the_depth_is_made_ahead(depth: int) -> None:
    plain = Uneven()
    rows = iter(AsyncPrefetchDataset(plain, num_threads=3, depth=depth))
    for delivered in range(1, 20):
        next(rows)
        assert len(plain.asked) <= delivered + depth
    time.sleep(0.05)
    assert len(plain.asked) == 19 + depth


class Heavy(Base):
    """Samples of 1 MB, of which it knows how many live."""

    def __init__(self) -> None:
        super().__init__()
        self.alive, self.most = weakref.WeakSet[Any](), 0

    def make(self, index: int) -> Any:
        sample = torch.zeros(250_000)
        self.alive.add(sample)
        self.most = max(self.most, len(self.alive))
        return sample


def test_what_waits_stays_under_the_bound() -> None:
    plain = Heavy()
    ahead = AsyncPrefetchDataset(plain, num_threads=3, depth=20, max_memory_usage=3_500_000)
    for sample in ahead:
        time.sleep(0.002)
        del sample
    # Three wait, and one may be in the hands of the caller.
    assert 3 <= plain.most <= 4
    plain = Heavy()
    for sample in AsyncPrefetchDataset(plain, num_threads=3, depth=20, max_memory_usage=10):
        del sample
    assert plain.most <= 2


def test_threads_end_when_the_loop_is_left() -> None:
    for row in AsyncPrefetchDataset(Uneven(), num_threads=3):
        assert num_threads() == 3
        if row == 5:
            break
    assert num_threads() == 0


def test_threads_end_when_the_iterator_is_forgotten() -> None:
    rows = iter(AsyncPrefetchDataset(Uneven(), num_threads=3))
    next(rows)
    del rows
    assert num_threads() == 0


def test_threads_end_with_an_error_of_the_loop() -> None:
    def loop() -> None:
        for row in AsyncPrefetchDataset(Uneven(), num_threads=2):
            if row == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop()
    gc.collect()
    assert num_threads() == 0


class Slow(Base):
    """Long enough to be interrupted."""

    def make(self, index: int) -> Any:
        time.sleep(0.05)
        return index


def test_ctrl_c_ends_the_threads_and_loses_no_place() -> None:
    ahead, got = AsyncPrefetchDataset(Slow(), num_threads=1, depth=2), list[int]()

    def loop() -> None:
        for row in ahead:
            got.append(row)

    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt):
        loop()
    assert num_threads() == 0
    assert ahead.state_dict()["num_delivered"] - len(got) in (0, 1)
    assert len(got) < 40


@given(st.integers(0, 40))
def test_iteration_goes_on_where_it_was_left(stop: int) -> None:
    plain = Uneven()
    plain.make = lambda index: index  # type: ignore[method-assign]
    order = np.random.default_rng(0).permutation(40)
    ahead = AsyncPrefetchDataset(plain, order, num_threads=2)
    rows = iter(ahead)
    before = [next(rows) for _ in range(stop)]
    state = pickle.loads(pickle.dumps(ahead.state_dict()))
    again = AsyncPrefetchDataset(plain, order, num_threads=1)
    again.load_state_dict(state)
    plain.asked.clear()
    assert before + list(again) == order.tolist()
    assert list(again) == order.tolist()
    assert again.state_dict() == {"num_delivered": 0}


def test_columns_in_memory_are_read_ahead_into_kept_memory() -> None:
    dataset = VectorizedDataset(torch.arange(1000.0))
    ids = np.random.default_rng(0).permutation(1000).reshape(50, 20)
    places = set()
    for batch, wanted in zip(AsyncPrefetchDataset(dataset, ids, depth=2), ids, strict=True):
        assert batch.tolist() == wanted.tolist()
        places.add(batch.data_ptr())
    assert len(places) <= 4


def test_settings_out_of_range_are_refused() -> None:
    for settings in ({"num_threads": 0}, {"depth": 0}):
        with pytest.raises(ConfigError, match="=0 is below 1"):
            AsyncPrefetchDataset(Fixed(), **settings)
    with pytest.raises(ConfigError, match="only once"):
        AsyncPrefetchDataset(Fixed(), iter([1, 2]))
