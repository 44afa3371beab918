"""Training on a mixture: proportions arrive, repeats differ, stopping changes nothing."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from chirpid.data.mix import Mix, mixed_epoch
from chirpid.data.order import OrderRule
from chirpid.data.segments import SegmentTable
from chirpid.errors import Interrupted
from chirpid.types import Order
from tests.engine.bench import AUGMENT, RULE, Recorder, engine_of, folds_of, same_weights
from tests.engine.test_steps import augmented, batch_of, preparer


def mix_of(segments: SegmentTable, draws: int | None = None) -> Mix:
    """Two sets, each in both parts of both folds: the second half is drawn five times as often."""
    half = len(segments) // 2
    for fold in (0, 1):
        train = folds_of(segments).train_ids(fold)
        assert train.min() < half <= train.max()
    return Mix(("first", "second"), (0, half), (1.0, 5.0), draws)


def stop_at(number: int):
    def on_batch(done: int) -> None:
        if done == number:
            os.kill(os.getpid(), signal.SIGINT)

    return on_batch


@pytest.mark.parametrize("order", [Order.shuffled, Order.windowed])
def test_a_mixed_run_that_was_stopped_ends_with_the_same_bits(
    segments: SegmentTable, tmp_path: Path, order: Order
) -> None:
    rule = replace(RULE, mix=mix_of(segments), order=order, block_segments=4, window_segments=12)
    cache, straight = tmp_path / "cache", Recorder()
    engine_of(segments, tmp_path / "straight", cache=cache, rule=rule, observer=straight).run()
    for at in (2, straight.batches // 2, 1):
        recorder = Recorder(on_batch=stop_at(at))
        with pytest.raises(Interrupted):
            engine_of(
                segments, tmp_path / "stopped", cache=cache, rule=rule, observer=recorder
            ).run()
    engine_of(segments, tmp_path / "stopped", cache=cache, rule=rule).run()
    for fold in (0, 1):
        assert same_weights(tmp_path / "straight", tmp_path / "stopped", fold)


def test_an_epoch_of_training_is_the_mixed_epoch(segments: SegmentTable) -> None:
    mix = mix_of(segments, draws=41)
    rule = replace(RULE, mix=mix, order=Order.shuffled, batch_size=4)
    train = folds_of(segments).train_ids(0)
    epoch = rule.train_epoch(train, segments.key_N, 3)
    assert epoch.repeats is not None
    drawn = mixed_epoch(train, segments.key_N, mix, OrderRule(seed=rule.seed), epoch=3)
    assert np.array_equal(np.concatenate(epoch.batches), drawn.ids)
    assert np.array_equal(np.concatenate(epoch.repeats), drawn.repeats)
    # 41 in batches of 4: the lone last one joins the batch before it, ids and repeats alike.
    assert [len(b) for b in epoch.batches] == [len(r) for r in epoch.repeats] == [4] * 9 + [5]
    assert epoch.repeat_of(2) is epoch.repeats[2]


def test_a_repeat_is_augmented_anew_and_a_first_draw_as_ever(segments: SegmentTable) -> None:
    one = preparer(segments, replace(AUGMENT, mixup_alpha=0.0))
    batch = batch_of([3, 3, 5], (24, 63))
    plain = augmented(one, batch)
    assert torch.equal(plain[0], plain[1])
    inputs, target = batch.inputs, one.target_NC[torch.from_numpy(batch.ids)]
    found = [
        one.augmented(batch, inputs, target, 0, np.array(repeats))[0]
        for repeats in ([0, 1, 0], [0, 1, 0], [1, 2, 0])
    ]
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0][[0, 2]], plain[[0, 2]]), "a first draw is that of an epoch unmixed"
    assert not torch.equal(found[0][1], plain[0])
    assert torch.equal(found[2][0], found[0][1]), "a repeat is the same wherever it stands"
    assert not torch.equal(found[2][1], found[0][1])
