"""Every item once in an epoch, whatever the numbers are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.order import OrderRule, batches_of
from chirpid.data.samplers import SequentialSampler, ShuffledSampler
from chirpid.errors import ConfigError, DataError

ids_of = st.lists(st.integers(0, 10**12), unique=True, max_size=60)
SIZES = st.integers(1, 70)


@given(ids_of, SIZES, st.integers(0, 2**64 - 1), st.integers(0, 10**6))
def test_an_epoch_holds_every_item_once_in_full_batches_but_the_last(
    ids, size, seed, epoch
) -> None:
    for sampler in (ShuffledSampler(ids, size, seed=seed), SequentialSampler(ids, size)):
        batches = sampler.batches(epoch)
        assert sorted(np.concatenate([*batches, []]).astype(int).tolist()) == sorted(ids)
        assert all(len(batch) == size for batch in batches[:-1])
        assert sampler.num_batches(epoch) == len(batches) == -(-len(ids) // size)


@given(ids_of, SIZES, st.integers(0, 99))
def test_dropping_leaves_out_the_end_alone(ids, size, epoch) -> None:
    if 0 < len(ids) < size:
        return
    whole = ShuffledSampler(ids, size).batches(epoch)
    sampler = ShuffledSampler(ids, size, drop_last=True)
    kept = sampler.batches(epoch)
    assert sampler.num_batches(epoch) == len(kept) == len(ids) // size
    assert all(map(np.array_equal, kept, whole))


@given(st.integers(0, 300), st.integers(0, 99), st.integers(0, 99))
def test_the_shuffle_is_the_order_that_trainings_have(count, seed, epoch) -> None:
    keys = np.arange(count, dtype=np.uint64)
    order = OrderRule(seed=seed).epoch(np.arange(count), keys, epoch)
    found = ShuffledSampler(count, 32, seed=seed).batches(epoch)
    assert len(found) == len(batches_of(order, 32))
    assert all(map(np.array_equal, found, batches_of(order, 32)))


def test_the_listing_of_ids_decides_the_sequence_and_not_the_shuffle() -> None:
    ids = np.array([7, 3, 11, 2])
    assert SequentialSampler(ids, 3).batches(4)[0].tolist() == [7, 3, 11]
    forth, back = ShuffledSampler(ids, 4, seed=1), ShuffledSampler(ids[::-1], 4, seed=1)
    assert np.array_equal(forth.batches(2)[0], back.batches(2)[0])


def test_small_sets_work_or_say_what_to_do() -> None:
    assert ShuffledSampler(0, 4).batches(0) == []
    assert ShuffledSampler([], 4, drop_last=True).batches(0) == []
    assert [batch.tolist() for batch in ShuffledSampler(1, 4).batches(0)] == [[0]]
    assert [len(batch) for batch in ShuffledSampler(3, 4).batches(0)] == [3]
    with pytest.raises(ConfigError, match=r"^drop_last drops all: 3 ids .*or smaller batches\.$"):
        ShuffledSampler(3, 4, drop_last=True)


@pytest.mark.parametrize(
    ("items", "settings", "message"),
    [
        (-1, {}, r"^items is -1\. Use a whole number of 0 or more\.$"),
        (2.5, {}, r"^items is 2\.5\."),
        ([1, 2, 1], {}, r"^Id 1 comes twice\."),
        ([1, -2], {}, r"^ids\[1\] is -2\."),
        ([0.5], {}, r"^ids are float64\[1\]\."),
        ([[1]], {}, r"^ids are int64\[1, 1\]\."),
        (4, {"batch_size": 0}, r"^batch_size is 0\. Use a whole number of 1 or more\.$"),
        (4, {"batch_size": "8"}, r"^batch_size is '8'\."),
        (4, {"batch_size": True}, r"^batch_size is True\."),
        (4, {"seed": -1}, r"^seed is -1\."),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(items, settings, message) -> None:
    with pytest.raises((ConfigError, DataError), match=message):
        ShuffledSampler(items, **{"batch_size": 2, **settings})
