"""The keys of stores tell apart all that makes other rows, and nothing else."""

from __future__ import annotations

from dataclasses import replace

from chirpid.data.modes import content_key, store_key
from chirpid.data.rows import RowMaker
from chirpid.types import Keep, StoreDtype
from tests.workbench import FRONTEND, maker_of


def test_the_key_tells_apart_all_that_makes_other_rows(maker: RowMaker) -> None:
    table = maker.segments

    def key(made: RowMaker, **frontend: object) -> str:
        return store_key(made, {**FRONTEND, **frontend})

    longer = replace(table, rule=replace(table.rule, duration_s=1.004))
    assert maker_of(longer).spec.shape == maker.spec.shape, "the same shape, other rows"
    keys = [
        key(maker),
        key(maker, fmin_hz=60.0),
        key(maker_of(table, keep=Keep.waveform)),
        key(maker_of(table, dtype=StoreDtype.float32)),
        key(maker_of(longer)),
        key(maker_of(replace(table, start_N=table.start_N + 1))),
        key(maker_of(replace(table, channel_R=table.channel_R + 1))),
        key(maker_of(replace(table, contents=type(table.contents)(["x"] * 12)))),
    ]
    assert len(set(keys)) == len(keys)
    assert key(maker_of(table)) == keys[0]
    moved = replace(table, root="/elsewhere", label_R=table.label_R[::-1].copy())
    assert key(maker_of(moved)) == keys[0], "neither place nor labels change the rows"


def test_rows_of_another_implementation_are_another_store(maker: RowMaker) -> None:
    table = maker.segments
    spectrograms, waveforms = maker_of(table), maker_of(table, keep=Keep.waveform)
    settings = dict(FRONTEND)
    keys = {store_key(spectrograms, settings)}
    for made in (spectrograms, waveforms):
        before = content_key(made, settings)
        other = _Other(made.segments, made.frontend, keep=made.spec.keep, dtype=made.spec.dtype)
        assert content_key(other, settings) == before
        keys |= {store_key(other, settings)}
    assert len(keys) == 3


class _Other(RowMaker):
    implementation = "somebody's"


def test_waveforms_are_kept_whatever_the_front_end(maker: RowMaker) -> None:
    made = maker_of(maker.segments, keep=Keep.waveform)
    assert store_key(made, {**FRONTEND, "num_mels": 99}) == store_key(made, dict(FRONTEND))
    faster = maker_of(maker.segments, keep=Keep.waveform, sample_rate_hz=22050)
    assert store_key(faster, dict(FRONTEND)) != store_key(made, dict(FRONTEND))
