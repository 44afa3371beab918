"""Ranks share an epoch: nothing twice, nothing lost, all as long, whatever came before."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.order import OrderRule, batches_of
from chirpid.data.ranks import Leg, eval_shares, train_shares
from chirpid.seeds import keys_of
from chirpid.types import IntArray, Order

KEYS = keys_of(str(n) for n in range(300))
ids_of = st.lists(st.integers(0, 299), unique=True, max_size=300).map(
    lambda ids: np.array(ids, dtype=np.int64)
)
RULES = st.builds(
    OrderRule,
    order=st.sampled_from([Order.shuffled, Order.windowed, Order.auto, Order.sequential]),
    seed=st.integers(0, 2**64 - 1),
    block_segments=st.integers(1, 60),
    window_segments=st.integers(1, 350),
)
EPOCHS, RANKS = st.integers(0, 10**6), st.integers(1, 9)


def counted(shares: list[IntArray]) -> IntArray:
    return np.bincount(np.concatenate(shares), minlength=len(KEYS))


@given(ids_of, RULES, EPOCHS, RANKS)
def test_shares_are_as_long_as_each_other_and_hold_every_segment(ids, rule, epoch, ranks) -> None:
    shares = train_shares(ids, KEYS, rule, epoch=epoch, num_ranks=ranks)
    assert {len(share) for share in shares} == {-(-len(ids) // ranks)}
    assert set(np.concatenate(shares).tolist()) == set(ids.tolist())
    count = counted(shares)
    if len(ids) >= ranks:
        assert count.max() <= 2
        assert (count == 2).sum() == len(shares[0]) * ranks - len(ids) <= ranks - 1
        assert all(len(set(share.tolist())) == len(share) for share in shares)


@given(ids_of, RULES, EPOCHS, RANKS)
def test_dropping_leaves_out_fewer_than_there_are_ranks(ids, rule, epoch, ranks) -> None:
    shares = train_shares(ids, KEYS, rule, epoch=epoch, num_ranks=ranks, drop=True)
    assert {len(share) for share in shares} == {len(ids) // ranks}
    assert counted(shares).max() <= 1
    assert len(ids) - sum(map(len, shares)) < ranks
    assert set(np.concatenate(shares).tolist()) <= set(ids.tolist())


@given(ids_of, RULES, EPOCHS, RANKS)
def test_a_share_depends_on_its_arguments_alone(ids, rule, epoch, ranks) -> None:
    first = train_shares(ids, KEYS, rule, epoch=epoch, num_ranks=ranks)
    np.random.default_rng().random(3)
    again = train_shares(ids[::-1], KEYS, rule, epoch=epoch, num_ranks=ranks)
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))


@given(ids_of, RULES, EPOCHS)
def test_one_rank_trains_in_the_order_of_the_epoch(ids, rule, epoch) -> None:
    (share,) = train_shares(ids, KEYS, rule, epoch=epoch, num_ranks=1)
    assert np.array_equal(share, rule.epoch(ids, KEYS, epoch))


@given(ids_of, EPOCHS, RANKS, st.integers(1, 20))
def test_batches_of_all_ranks_are_stretches_of_the_shuffled_order(ids, epoch, ranks, size) -> None:
    rule = OrderRule(seed=4)
    whole = rule.epoch(ids, KEYS, epoch)
    shares = train_shares(ids, KEYS, rule, epoch=epoch, num_ranks=ranks, drop=True)
    batches = [batches_of(share, size) for share in shares]
    for step, parts in enumerate(zip(*batches, strict=True)):
        stretch = whole[step * size * ranks :][: sum(map(len, parts))]
        assert sorted(np.concatenate(parts).tolist()) == sorted(stretch.tolist())


@given(ids_of, st.integers(0, 99), EPOCHS, RANKS, st.integers(1, 60), st.integers(1, 299))
def test_a_rank_reads_blocks_of_its_own_and_keeps_few(
    ids, seed, epoch, ranks, block, window
) -> None:
    rule = OrderRule(Order.windowed, seed, block, window)
    shares = train_shares(ids, KEYS, rule, epoch=epoch, num_ranks=ranks)
    if len(ids) >= ranks:
        read = [set((share // block).tolist()) for share in shares]
        assert sum(map(len, read)) <= len(set((ids // block).tolist())) + ranks - 1
    for share in shares:  # a stream keeps the blocks of one window
        last = {number: place for place, number in enumerate((share // block).tolist())}
        open_blocks: set[int] = set()
        for place, number in enumerate((share // block).tolist()):
            open_blocks.add(number)
            assert len(open_blocks) <= -(-window // block) + 1
            open_blocks = {held for held in open_blocks if last[held] > place}


@given(st.integers(0, 99), st.integers(2, 6))
def test_blocks_go_to_other_ranks_in_another_epoch(seed, ranks) -> None:
    rule = OrderRule(Order.windowed, seed, 4, 20)
    ids = np.arange(300)
    of_rank = [set(train_shares(ids, KEYS, rule, epoch=epoch, num_ranks=ranks)[0].tolist())
               for epoch in (0, 1)]  # fmt: skip
    assert of_rank[0] != of_rank[1]


@given(ids_of, RULES, EPOCHS, st.lists(st.tuples(RANKS, st.integers(0, 40)), max_size=3), RANKS,
       st.booleans())  # fmt: skip
def test_another_number_of_ranks_goes_on_without_repeating_or_losing(
    ids, rule, epoch, history, ranks, drop
) -> None:
    legs: list[Leg] = []
    done: set[int] = set()
    for num_ranks, num_done in history:
        shares = train_shares(ids, KEYS, rule, epoch=epoch, num_ranks=num_ranks, drop=drop,
                              legs=legs)  # fmt: skip
        trained = set(np.concatenate([share[:num_done] for share in shares]).tolist())
        assert not trained & done, "what was done in an earlier leg comes again"
        done |= trained
        legs.append(Leg(num_ranks, num_done))
    shares = train_shares(ids, KEYS, rule, epoch=epoch, num_ranks=ranks, drop=drop, legs=legs)
    left = set(np.concatenate(shares).tolist())
    assert not left & done
    assert len(ids) - len(left | done) <= (ranks - 1 if drop else 0)
    assert len({len(share) for share in shares}) == 1


@given(ids_of, RULES, EPOCHS, st.integers(0, 50))
def test_a_leg_of_one_rank_leaves_the_rest_of_the_order(ids, rule, epoch, done) -> None:
    (share,) = train_shares(ids, KEYS, rule, epoch=epoch, num_ranks=1, legs=[Leg(1, done)])
    assert np.array_equal(share, rule.epoch(ids, KEYS, epoch)[done:])


@given(ids_of, RANKS)
def test_validation_is_whole_over_ranks(ids, ranks) -> None:
    shares = eval_shares(ids, ranks)
    assert len(shares) == ranks
    assert np.array_equal(np.concatenate(shares), np.sort(ids))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
