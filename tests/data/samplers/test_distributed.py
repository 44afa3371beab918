"""Ranks share an epoch of any sampler: nothing twice, nothing lost, as many batches each."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch.distributed as dist
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.order import OrderRule
from chirpid.data.ranks import eval_shares, train_shares
from chirpid.data.samplers import (
    BucketSampler,
    BudgetSampler,
    ClassBalancedSampler,
    DistributedSampler,
    MPerClassSampler,
    Sampler,
    SequentialSampler,
    ShuffledSampler,
    WeightedSampler,
    padding_share,
    repeats_of,
)
from chirpid.errors import ConfigError

LENGTHS = 1 + np.arange(200) * 37 % 61
LABELS = np.arange(200) % 7
RANKS, COUNTS, EPOCHS = st.integers(1, 7), st.integers(0, 60), st.integers(0, 999)
MAKERS: dict[str, Callable[[int, int, int], Sampler]] = {
    "shuffled": lambda n, size, seed: ShuffledSampler(n, size, seed=seed),
    "sequential": lambda n, size, seed: SequentialSampler(n, size),
    "weighted": lambda n, size, seed: WeightedSampler(LENGTHS, size, num_samples=n + 1, seed=seed),
    "balanced": lambda n, size, seed: ClassBalancedSampler(
        LABELS, size, num_samples=n + 1, seed=seed
    ),
    "per class": lambda n, size, seed: MPerClassSampler(
        LABELS, 2, size, batches_per_epoch=n + 1, seed=seed
    ),
    "bucket": lambda n, size, seed: BucketSampler(LENGTHS[:n], size, window_batches=3, seed=seed),
    "budget": lambda n, size, seed: BudgetSampler(LENGTHS[:n], 150, window_items=20, seed=seed),
}


class Base(NamedTuple):
    """What a sampler is made of; hypothesis can show it, which it cannot do with the sampler."""

    kind: str
    num_items: int
    batch_size: int
    seed: int

    def made(self) -> Sampler:
        return MAKERS[self.kind](self.num_items, self.batch_size, self.seed)


BASES = st.builds(
    Base, st.sampled_from(sorted(MAKERS)), COUNTS, st.integers(1, 9), st.integers(0, 2**64 - 1)
)


def of_ranks(base: Sampler, num_ranks: int, epoch: int, uneven: str) -> list[list[np.ndarray]]:
    samplers = [DistributedSampler(base, rank, num_ranks, uneven) for rank in range(num_ranks)]
    found = [list(sampler.batches(epoch)) for sampler in samplers]
    assert [sampler.num_batches(epoch) for sampler in samplers] == [len(b) for b in found]
    return found


def drawn(batches: list[np.ndarray]) -> Counter[int]:
    return Counter(itertools.chain(*(batch.tolist() for batch in batches)))


@given(BASES, RANKS, EPOCHS)
def test_repeating_gives_all_ranks_as_many_batches_and_loses_nothing(parts, ranks, epoch) -> None:
    base = parts.made()
    found = of_ranks(base, ranks, epoch, "repeat")
    whole = drawn(base.batches(epoch))
    assert len({len(batches) for batches in found}) == 1
    dealt = drawn(list(itertools.chain(*found)))
    assert not whole - dealt, "an item is lost"
    more = (dealt - whole).total()
    largest = max(map(len, base.batches(epoch)), default=0)
    # Ids are dealt out one by one, and of other samplers whole batches.
    one_by_one = hasattr(base, "epoch_ids")
    assert more <= (ranks - 1) * (1 if one_by_one else largest)
    if one_by_one:
        assert all(len({len(b) for b in step}) == 1 for step in zip(*found, strict=True))


@given(BASES, RANKS, EPOCHS)
def test_dropping_gives_all_ranks_as_many_batches_and_repeats_nothing(parts, ranks, epoch) -> None:
    base = parts.made()
    count = base.num_ids if hasattr(base, "num_ids") else base.num_batches(epoch)
    if 0 < count < ranks:
        with pytest.raises(ConfigError, match=r"make no batch for each of \d ranks\. Use smaller"):
            DistributedSampler(base, 0, ranks, "drop").batches(epoch)
        return
    found = of_ranks(base, ranks, epoch, "drop")
    whole = drawn(base.batches(epoch))
    assert len({len(batches) for batches in found}) == 1
    dealt = drawn(list(itertools.chain(*found)))
    assert not dealt - whole, "an item comes again"
    largest = max(map(len, base.batches(epoch)), default=0)
    assert (whole - dealt).total() <= (ranks - 1) * (1 if hasattr(base, "num_ids") else largest)


@given(BASES, RANKS, EPOCHS)
def test_a_validation_repeats_nothing_and_loses_nothing(parts, ranks, epoch) -> None:
    base = parts.made()
    found = of_ranks(base, ranks, epoch, "keep")
    assert drawn(list(itertools.chain(*found))) == drawn(base.batches(epoch))
    sizes = [len(batches) for batches in found]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(0, 200), RANKS, EPOCHS, st.integers(1, 20), st.booleans())
def test_batches_of_all_ranks_are_a_larger_batch_of_the_shuffle(
    count, ranks, epoch, size, drop
) -> None:
    if count < ranks * size:
        return
    base = ShuffledSampler(count, size, seed=5, drop_last=drop)
    found = of_ranks(base, ranks, epoch, "drop")
    large = ShuffledSampler(count, size * ranks, seed=5).batches(epoch)
    for parts, together in zip(zip(*found, strict=True), large, strict=False):
        union = np.stack(parts, axis=1).ravel()
        assert np.array_equal(union, together[: len(union)]), "in this order, even"


@given(st.integers(1, 200), RANKS, EPOCHS, st.booleans())
def test_shares_are_those_that_trainings_and_validations_have(count, ranks, epoch, drop) -> None:
    ids, keys = np.arange(count), np.arange(count, dtype=np.uint64)
    if not (drop and count < ranks):
        shares = train_shares(ids, keys, OrderRule(seed=3), epoch=epoch, num_ranks=ranks, drop=drop)
        found = of_ranks(
            ShuffledSampler(count, 8, seed=3), ranks, epoch, "drop" if drop else "repeat"
        )
        assert all(np.array_equal(np.concatenate(b), s) for b, s in zip(found, shares, strict=True))
    kept = of_ranks(SequentialSampler(count, 8), ranks, epoch, "keep")
    for batches, share in zip(kept, eval_shares(ids, ranks), strict=True):
        assert np.array_equal(np.concatenate([*batches, share[:0]]), share)


@given(BASES, EPOCHS)
def test_one_rank_has_the_epoch_of_the_sampler(parts, epoch) -> None:
    base = parts.made()
    for uneven in ("repeat", "drop", "keep"):
        (found,) = of_ranks(base, 1, epoch, uneven)
        assert len(found) == len(base.batches(epoch))
        assert all(map(np.array_equal, found, base.batches(epoch)))
        repeats = DistributedSampler(base, 0, 1, uneven).repeats(epoch)
        assert all(map(np.array_equal, repeats, base.repeats(epoch)))


@given(BASES, RANKS, EPOCHS, st.sampled_from(["repeat", "drop", "keep"]))
def test_no_draw_of_any_rank_has_the_key_of_another(parts, ranks, epoch, uneven) -> None:
    base = parts.made()
    keys: list[tuple[int, int]] = []
    for rank in range(ranks):
        sampler = DistributedSampler(base, rank, ranks, uneven)
        try:
            batches = sampler.batches(epoch)
        except ConfigError:
            return
        for ids, repeat in zip(batches, sampler.repeats(epoch), strict=True):
            keys += zip(ids.tolist(), repeat.tolist(), strict=True)
    assert len(set(keys)) == len(keys)


def test_a_draw_has_the_same_key_whatever_the_number_of_ranks() -> None:
    base = WeightedSampler(LENGTHS, 5, num_samples=240)
    whole = list(zip(np.concatenate(base.batches(0)), np.concatenate(base.repeats(0)), strict=True))
    for ranks in (2, 3, 8):
        for rank in range(ranks):
            mine = DistributedSampler(base, rank, ranks)
            ids, repeat = np.concatenate(mine.batches(0)), np.concatenate(mine.repeats(0))
            assert list(zip(ids, repeat, strict=True)) == whole[rank::ranks]
    assert any(repeat for _, repeat in whole)
    alone = DistributedSampler(base, 1, 2)
    assert any(map(np.any, np.subtract(np.concatenate(alone.repeats(0)),
                                       np.concatenate(repeats_of(alone.batches(0))))))  # fmt: skip


def test_ranks_have_batches_of_like_length_at_a_step() -> None:
    rng = np.random.default_rng(0)
    lengths = rng.integers(10, 1000, 2000)
    base = BucketSampler(lengths, 10, window_batches=50)
    longest = np.array(
        [[lengths[b].max() for b in batches] for batches in of_ranks(base, 4, 0, "drop")]
    )
    waits = 1 - longest.mean() / longest.max(axis=0).mean()
    dealt_as_shuffled = [[lengths[b].max() for b in base.batches(0)[rank::4]] for rank in range(4)]
    shuffled = 1 - np.mean(dealt_as_shuffled) / np.max(dealt_as_shuffled, axis=0).mean()
    assert waits < 0.1 < shuffled
    assert padding_share(base.batches(0), lengths) < 0.05


def test_a_dropped_short_batch_is_dropped_at_every_rank() -> None:
    found = of_ranks(ShuffledSampler(23, 4, drop_last=True), 2, 0, "repeat")
    assert [[len(b) for b in batches] for batches in found] == [[4, 4, 4], [4, 4, 4]]
    found = of_ranks(ShuffledSampler(21, 4, drop_last=True), 2, 0, "repeat")
    assert [[len(b) for b in batches] for batches in found] == [[4, 4], [4, 4]]


def test_small_sets_work_or_say_what_to_do() -> None:
    assert of_ranks(ShuffledSampler(0, 4), 3, 0, "repeat") == [[], [], []]
    one_for_each = of_ranks(ShuffledSampler(1, 4), 3, 0, "repeat")
    assert [[b.tolist() for b in batches] for batches in one_for_each] == [[[0]]] * 3
    assert of_ranks(SequentialSampler(1, 4), 2, 0, "keep")[1] == []
    with pytest.raises(ConfigError, match=r"^5 ids make no batch for each of 2 ranks\."):
        DistributedSampler(ShuffledSampler(5, 4, drop_last=True), 0, 2).batches(0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rank": 2, "num_ranks": 2}, r"^rank is 2, but num_ranks is 2\. Count ranks from 0\.$"),
        ({"rank": -1, "num_ranks": 2}, r"^rank is -1\."),
        ({"rank": 0, "num_ranks": 0}, r"^num_ranks is 0\."),
        ({"uneven": "pad"}, r"^uneven is 'pad'\. Choices: repeat, drop, keep\.$"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(settings, message) -> None:
    with pytest.raises(ConfigError, match=message):
        DistributedSampler(ShuffledSampler(4, 2), **settings)


def test_the_environment_tells_the_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    alone = DistributedSampler(ShuffledSampler(9, 2))
    assert (alone.rank, alone.num_ranks) == (0, 1)
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")
    third = DistributedSampler(ShuffledSampler(9, 2))
    assert (third.rank, third.num_ranks) == (2, 3)
    assert third.fingerprint() != alone.fingerprint()
    assert third.fingerprint() == DistributedSampler(ShuffledSampler(9, 2), 0, 3).fingerprint()
    monkeypatch.setenv("RANK", "two")
    with pytest.raises(ConfigError, match=r"^The environment has RANK='two'\."):
        DistributedSampler(ShuffledSampler(9, 2))


def test_torch_tells_the_rank_before_the_environment_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1,
                            timeout=timedelta(seconds=20))  # fmt: skip
    try:
        sampler = DistributedSampler(ShuffledSampler(9, 2))
        assert (sampler.rank, sampler.num_ranks) == (0, 1)
    finally:
        dist.destroy_process_group()
