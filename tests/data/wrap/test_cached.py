"""A cached dataset is the dataset, asked once, in memory that stays under its bound."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from chirpid.data.general.protocols import BatchReader
from chirpid.data.wrap.cached import CachedDataset
from chirpid.errors import BudgetError, ConfigError, DataError
from tests.data.wrap.alike import alike, same
from tests.data.wrap.sets import Draws, Failing, Fixed, LateVaried, Reader, Varied

KINDS = {"fixed": Fixed, "varied": Varied, "late": LateVaried, "reader": Reader}
ROOM = {"fixed": 3000, "varied": 12000, "late": 3000, "reader": 6000}
"""Room for some of the 40 samples."""


@pytest.mark.parametrize("kind", KINDS)
@given(
    room=st.sampled_from(["all", "some"]),
    policy=st.sampled_from(["lru", "first"]),
    batches=st.lists(st.lists(st.integers(-40, 39), min_size=1, max_size=8), max_size=12),
)
def test_samples_are_those_of_the_dataset(
    kind: str, room: str, policy: str, batches: list[list[int]]
) -> None:
    plain = KINDS[kind]()
    most = "1 MiB" if room == "all" else ROOM[kind]
    cached = CachedDataset(KINDS[kind](), max_memory_usage=most, policy=policy)
    for batch in batches:
        wanted = [plain.make(index % 40) for index in batch]
        assert all(map(alike, cached.__getitems__(batch), wanted))
        assert alike(cached[batch[0]], wanted[0])
        stats = cached.stats()
        assert stats["num_bytes"] <= stats["max_bytes"]
    stats = cached.stats()
    assert stats["num_hits"] + stats["num_misses"] == sum(len(batch) + 1 for batch in batches)
    if batches and room == "all":
        assert stats["num_evicted"] == 0


@pytest.mark.parametrize("room", ["1 MiB", "6000"])
@given(batches=st.lists(st.lists(st.integers(0, 39), min_size=1, max_size=8), max_size=12))
def test_batches_are_read_as_the_reader_reads_them(room: str, batches: list[list[int]]) -> None:
    plain = Reader()
    cached = CachedDataset(Reader(), max_memory_usage=room)
    assert isinstance(cached, BatchReader)
    for batch in batches:
        out, wanted = (plain.layout.empty(len(batch)) for _ in range(2))
        cached.read_into(np.array(batch), out)
        plain.read_into(np.array(batch), wanted)
        assert same(out.tensors, wanted.tensors)


def test_each_sample_is_asked_for_once_where_all_have_room() -> None:
    for kind in (Fixed, Varied, Reader):
        plain = kind()
        cached = CachedDataset(plain)
        for _ in range(3):
            list(DataLoader(cached, batch_size=7, collate_fn=list))
        # The first is asked for twice more, the middle and the last once, to see what they are.
        assert sorted(plain.asked) == sorted([*range(40), 0, 0, 20, 39])
        assert cached.stats()["num_hits"] == 80


@given(st.lists(st.integers(0, 19), max_size=60))
def test_what_was_used_the_longest_time_ago_makes_room(ids: list[int]) -> None:
    plain, most = Reader(20), 3000
    full = CachedDataset(plain, max_memory_usage=most)
    full.__getitems__(list(range(20)))
    room = full.stats()["num_kept"]
    assert 5 < room < 15
    cached = CachedDataset(plain, max_memory_usage=most)
    plain.asked.clear()
    kept, missed = OrderedDict[int, None](), list[int]()
    for id_ in ids:
        _ = cached[id_]
        if id_ not in kept:
            missed.append(id_)
        kept[id_] = None
        kept.move_to_end(id_)
        if len(kept) > room:
            kept.popitem(last=False)
    assert plain.asked == missed


def test_first_stays_where_nothing_makes_room() -> None:
    for plain in (Reader(), Varied()):
        cached = CachedDataset(plain, max_memory_usage=6000, policy="first")
        for _ in range(2):
            list(DataLoader(cached, batch_size=4, collate_fn=list))
        stats = cached.stats()
        assert stats["num_evicted"] == 0
        assert stats["num_hits"] == stats["num_kept"] > 0


def test_first_finds_more_in_shuffled_epochs_than_lru() -> None:
    found = {}
    for policy in ("lru", "first"):
        cached = CachedDataset(Reader(400), max_memory_usage=61_000, policy=policy)
        rng = np.random.default_rng(0)
        cached.__getitems__(rng.permutation(400).tolist())
        before = cached.stats()
        assert 190 <= before["num_kept"] <= 210
        for _ in range(5):
            for ids in rng.permutation(400).reshape(-1, 20):
                cached.__getitems__(ids.tolist())
        found[policy] = (cached.stats()["num_hits"] - before["num_hits"]) / 2000
    assert found["first"] == before["num_kept"] / 400
    assert 0.1 < found["lru"] < 0.25


def test_what_is_handed_out_may_be_changed() -> None:
    cached = CachedDataset(Fixed())
    for _ in range(3):
        sample = cached[5]
        assert alike(sample, Fixed().make(5))
        sample["image"].fill_(-1)
        sample["rest"][0].fill(-1)
    varied = CachedDataset(Varied())
    for _ in range(3):
        sample = varied[5]
        assert alike(sample, Varied().make(5))
        sample["ids"].fill_(-1)
        sample["set"].add(99)


def test_without_copies_it_is_one_memory() -> None:
    for kind in (Fixed, Varied):
        cached = CachedDataset(kind(), copy=False)
        first = cached[5]
        name = "image" if kind is Fixed else "ids"
        cached[5][name].fill_(-1)
        again = cached[5]
        assert again[name].eq(-1).all()
        assert again[name].data_ptr() == cached[5][name].data_ptr()
        del first
    tight = CachedDataset(Fixed(), copy=False, max_memory_usage=3000)
    with pytest.raises(ConfigError, match=r"copy=False .* of 40 samples have room"):
        _ = tight[0]


def test_errors_are_raised_where_they_belong_and_not_kept() -> None:
    plain = Failing()
    cached = CachedDataset(plain)
    for _ in range(2):
        with pytest.raises(ValueError, match="sample 3 is broken"):
            _ = cached[3]
    plain.fails = False
    assert alike(cached[3], Fixed().make(3))
    for bad in (40, -41):
        with pytest.raises(IndexError, match="among the samples from 0 to 39"):
            _ = cached[bad]
    with pytest.raises(TypeError):
        cached.__getitems__([0.5])  # type: ignore[list-item]


@pytest.mark.parametrize("kind", ["torch", "numpy", "own", "seldom"])
def test_random_samples_are_not_frozen_unless_that_is_wanted(kind: str) -> None:
    with pytest.raises(ConfigError, match=r"Draws draws random numbers from .* freeze=True"):
        CachedDataset(Draws(kind))
    frozen = CachedDataset(Draws(kind), freeze=True)
    assert alike(frozen[7], frozen[7])


def test_layout_is_that_of_samples_of_one_shape_alone() -> None:
    assert CachedDataset(Reader()).layout == Reader().layout
    assert not isinstance(CachedDataset(Varied()), BatchReader)
    late = CachedDataset(LateVaried())
    out = late.layout.empty(2)
    with pytest.raises(DataError, match="Sample 5 is not like the others"):
        late.read_into(np.array([4, 5]), out)
    late.read_into(np.array([4, 6]), out)
    assert late.__getitems__([5, 4])[0].shape == (5,)
    assert not isinstance(late, BatchReader)
    late.read_into(np.array([6, 4]), out)  # for who took them for rows before
    assert out.tensors[0][:, 0].tolist() == [6, 4]


def test_empty_dataset_has_no_samples_and_says_so() -> None:
    cached = CachedDataset(Fixed(0))
    assert len(cached) == 0
    with pytest.raises(IndexError):
        _ = cached[0]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_memory_usage": "2 gallons"}, "is no amount of memory"),
        ({"max_memory_usage": 0}, "is no amount of memory"),
        ({"max_memory_usage": "150%"}, "is no amount of memory"),
        ({"policy": "lur"}, r"Unknown policy 'lur'\. Did you mean 'lru'"),
        ({"share": True, "freeze": True}, "Set one of the two"),
    ],
    ids=str,
)
def test_settings_out_of_range_are_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        CachedDataset(Fixed(), **settings)


def test_bound_below_one_sample_is_refused() -> None:
    with pytest.raises(BudgetError, match="less than one of 259 bytes"):
        _ = CachedDataset(Reader(), max_memory_usage=500)[0]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_pinning_without_a_gpu_is_said_and_left_out() -> None:
    with pytest.warns(UserWarning, match="pin_memory true -> false: there is no GPU"):
        cached = CachedDataset(Fixed(), pin_memory=True)
    assert alike(cached[1], Fixed().make(1))
