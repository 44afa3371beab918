"""What holds for every sampler: pure, picklable, cheap to count, distinct draws."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import FrozenInstanceError, dataclass, fields

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.mix import draw_keys
from chirpid.data.samplers import (
    DistributedSampler,
    Sampler,
    SequentialSampler,
    ShuffledSampler,
    repeats_of,
)
from chirpid.errors import ConfigError
from tests.data.samplers.kinds import KINDS, same

kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
def test_batches_are_a_function_of_settings_seed_and_epoch(kind: str) -> None:
    sampler = KINDS[kind](3)
    np.random.default_rng().random(3)
    before = [batch.copy() for batch in sampler.batches(5)]
    sampler.batches(0)[0][:] = 99  # what a user does to a batch stays there
    assert all(map(np.array_equal, before, KINDS[kind](3).batches(5)))
    assert same(sampler, pickle.loads(pickle.dumps(sampler)), 5)
    assert same(sampler, KINDS[kind](3), 0)


@kinds
def test_epochs_and_seeds_differ(kind: str) -> None:
    sampler = KINDS[kind](3)
    fixed = kind == "sequential"
    assert same(sampler, sampler, 1, 2) == fixed
    assert same(sampler, KINDS[kind](4), 1) == fixed
    assert (sampler.fingerprint() == KINDS[kind](4).fingerprint()) == fixed


@kinds
def test_batches_are_counted_and_hold_int64(kind: str) -> None:
    sampler = KINDS[kind](3)
    for epoch in range(3):
        batches = sampler.batches(epoch)
        assert sampler.num_batches(epoch) == len(batches) > 1
        assert all(batch.dtype == np.int64 and len(batch) for batch in batches)


@kinds
def test_no_draw_of_an_epoch_has_the_key_of_another(kind: str) -> None:
    sampler = KINDS[kind](3)
    batches, repeats = sampler.batches(2), sampler.repeats(2)
    assert [len(batch) for batch in batches] == [len(repeat) for repeat in repeats]
    ids, repeat = np.concatenate(batches), np.concatenate(repeats)
    assert len(set(zip(ids.tolist(), repeat.tolist(), strict=True))) == len(ids)
    assert len(set(draw_keys(ids.astype(np.uint64), repeat).tolist())) == len(ids)


@kinds
def test_a_sampler_cannot_be_changed(kind: str) -> None:
    sampler = KINDS[kind](3)
    for field in fields(sampler):  # type: ignore[arg-type]
        with pytest.raises(FrozenInstanceError):
            setattr(sampler, field.name, None)
        value = getattr(sampler, field.name)
        assert not isinstance(value, np.ndarray) or not value.flags.writeable


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), max_size=6))
def test_repeats_count_earlier_draws_of_the_same_id(batches) -> None:
    seen: Counter[int] = Counter()
    expected = []
    for batch in batches:
        expected.append([])
        for item in batch:
            expected[-1].append(seen[item])
            seen[item] += 1
    found = repeats_of([np.array(batch, dtype=np.int64) for batch in batches])
    assert [repeat.tolist() for repeat in found] == expected


@dataclass(frozen=True)
class EveryThird(Sampler):
    """A sampler of a user's own."""

    count: int

    def batches(self, epoch: int) -> list[np.ndarray]:
        return [np.arange(epoch, self.count, 3)]


class Plain(Sampler):
    """One that tells no settings."""

    def batches(self, epoch: int) -> list[np.ndarray]:
        return []


def test_a_sampler_of_ones_own_needs_batches_alone() -> None:
    sampler = EveryThird(10)
    assert sampler.num_batches(0) == 1
    assert sampler.repeats(0)[0].tolist() == [0, 0, 0, 0]
    assert sampler.fingerprint() == "EveryThird(count=10)"
    with pytest.raises(ConfigError, match=r"^Plain tells no settings, .*fingerprint\(\)\.$"):
        Plain().fingerprint()


def test_one_that_is_no_dataclass_says_its_settings_itself() -> None:
    class Told(Plain):
        def fingerprint(self) -> str:
            return "Told(7)"

    text = DistributedSampler(Told(), 0, 2).fingerprint()
    assert text == "DistributedSampler(Told(7), num_ranks=2, uneven=repeat)"


def test_a_fingerprint_does_not_depend_on_the_types_a_user_chose() -> None:
    plain = ShuffledSampler([4, 2, 9], 2, seed=1)
    for items in (np.array([4, 2, 9], dtype=np.uint8), torch.tensor([4, 2, 9])):
        other = ShuffledSampler(items, np.int32(2), seed=np.int64(1))  # type: ignore[arg-type]
        assert other.fingerprint() == plain.fingerprint()
        assert same(plain, other, 0)


def test_a_fingerprint_shows_settings_and_tells_ids_apart() -> None:
    text = SequentialSampler(10, 4).fingerprint()
    assert text.startswith("SequentialSampler(batch_size=4, drop_last=False, id_N=int64[10]:")
    assert text != SequentialSampler(np.arange(10)[::-1], 4).fingerprint()
