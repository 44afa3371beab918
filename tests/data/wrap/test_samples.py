"""Samples of any kind are kept as copies, and counted by what they take."""

from __future__ import annotations

import ctypes
import gc
import pickle
import resource
from typing import Any

import numpy as np
import pytest
import torch

from chirpid.data.wrap.row_table import CachePolicy
from chirpid.data.wrap.samples import SampleStore, bytes_in, differ, given, kept
from tests.data.wrap.alike import alike


class Own:
    """A class of the user's."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and other.value == self.value


SAMPLE = {
    "tensor": torch.arange(6.0).view(2, 3).T,
    "half": torch.ones(2, dtype=torch.bfloat16),
    "array": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "texts": ["a", b"b", None, 1, 2.5, True, 1j, np.float32(3)],
    "own": (Own(3), {1, 2}),
}


def test_what_is_given_is_what_was_kept_in_memory_of_its_own() -> None:
    copy, _ = kept(SAMPLE)
    for _ in range(2):
        got = given(copy)
        assert alike(got, SAMPLE)
        assert got["array"].flags.f_contiguous
        assert got["tensor"].data_ptr() != SAMPLE["tensor"].data_ptr()
        got["tensor"].zero_()
        got["array"][:] = 0
        got["own"][0].value = 0


def test_views_are_kept_without_what_they_are_views_of() -> None:
    copy, size = kept(torch.zeros(10**6)[:10])
    assert copy.untyped_storage().nbytes() == 40
    assert size < 1000
    assert kept(np.zeros(10**6)[:10])[1] < 1000


@pytest.mark.parametrize("change", [1.0, float("nan")])
def test_samples_differ_by_any_bit_that_is_not_of_a_pickle(change: float) -> None:
    for one, other in [
        (torch.zeros(3), torch.tensor([0, 0, change])),
        (np.zeros(3), np.array([0, 0, change])),
        ({"a": 0.0}, {"a": change}),
        ({"a": 0.0}, {"b": 0.0}),
        ([1, 2], [1, 2, 3]),
        ((1,), [1]),
        (torch.zeros(3), torch.zeros(1, 3)),
    ]:
        assert differ(kept(one)[0], kept(other)[0])
        assert not differ(kept(one)[0], kept(one)[0])
        assert not differ(kept(other)[0], kept(other)[0])
    assert not differ(kept(Own(1))[0], kept(Own(2))[0])


def resident() -> int:
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


@pytest.mark.parametrize(
    "make",
    [
        lambda i: torch.full((20,), float(i)),
        lambda i: np.full(20, i),
        lambda i: {"a": "text" * 20 + str(i), "b": [i + 10**6, float(i)]},
        lambda i: Own(i),
    ],
    ids=["tensor", "array", "texts", "own"],
)
def test_small_samples_are_counted_with_what_holds_them(make: Any) -> None:
    store = SampleStore(2**40, policy=CachePolicy.lru, copy=True)
    before = resident()
    for index in range(30_000):
        store.put(index, make(index))
    grown = resident() - before
    assert grown <= store.nbytes * 1.05
    assert store.nbytes <= 30_000 * 1_100  # and not with much more


def test_what_cannot_be_pickled_is_not_kept() -> None:
    store = SampleStore(10**6, policy=CachePolicy.lru, copy=True)
    store.put(0, {"f": lambda: None})
    assert store.num_kept == store.nbytes == 0
    assert store.get(0) is None
    with pytest.raises((pickle.PicklingError, AttributeError)):
        kept(lambda: None)


def test_batches_are_counted_by_what_they_hold() -> None:
    batch = {"x": torch.zeros(10, 4), "y": [np.zeros(5), "text" * 100]}
    assert 160 + 40 + 400 <= bytes_in(batch) <= 160 + 40 + 400 + 600
