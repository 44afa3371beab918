"""What a training tells of its loader: the parts of a step, and the waits of validation too."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from chirpid.engine.rule import FoldOutcome
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.monitor import Recording
from chirpid.types import Batch, IntArray
from tests.engine.bench import RULE, engine_of, folds_of
from tests.sounds import write_set
from tests.workbench import segments_of


def test_a_training_tells_the_parts_of_its_steps_and_the_waits_of_validation(
    tmp_path: Path,
) -> None:
    segments = segments_of(write_set(tmp_path / "set"))
    valid = set(folds_of(segments).valid_ids(0).tolist())

    class SlowToValidate(InlineBackend):
        """Batches to validate take a long time."""

        def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
            for batch in super().run(batches):
                time.sleep(0.05 if valid.issuperset(batch.ids.tolist()) else 0.0)
                yield batch

    def outcome() -> FoldOutcome:
        return engine_of(
            segments, tmp_path / "run", cache=tmp_path / "cache", backend=SlowToValidate,
            rule=replace(RULE, epochs=1), only=[0],
        ).run()[0]  # fmt: skip

    first = outcome()
    figures, recording = first.history[0], first.recording
    assert figures["loader/valid_wait_share"] > figures["loader/wait_share"]
    assert first.loader["loader/augment_ms"] > 0
    inside_s = recording.inside_B2.sum(axis=1)
    steps_s = recording.timeline_B3[:, 2] - recording.timeline_B3[:, 1]
    assert (recording.inside_B2 > 0).all()
    assert (inside_s <= steps_s).all()
    parts_ms = first.loader["loader/augment_ms"] + first.loader["loader/transfer_ms"]
    assert np.isclose(parts_ms, 1e3 * inside_s.mean())

    again = outcome().recording  # of the fold as it was kept
    for name in Recording.__slots__:
        np.testing.assert_array_equal(getattr(again, name), getattr(recording, name))
