"""An epoch as it was: when batches were asked for and made, by whom, and what the machine did."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chirpid.loading.monitor.usage import Usage
from chirpid.types import FloatArray, IntArray, Span

KEPT_BATCHES = 2000
"""Of an epoch with more, who made them and when is kept of the last ones only."""

SAMPLED = ("time_s", *Usage._fields)
"""Columns of `Recording.samples_AU`."""


def _empty(*shape: int) -> FloatArray:
    return np.zeros(shape, dtype=np.float64)


@dataclass(slots=True, eq=False)
class Recording:
    """Times are seconds since the epoch began. S spans, K stages, A samples of what is in use."""

    timeline_B3: FloatArray = field(default_factory=lambda: _empty(0, 3))
    """When each batch was asked for, was there, and its step was done."""
    inside_B2: FloatArray = field(default_factory=lambda: _empty(0, 2))
    """Seconds of the step that the transfer and the augmentation took."""
    batch_S: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Which batch a span is of; spans are in this order."""
    worker_S: IntArray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    """Who made it; -1 is the training loop itself."""
    span_S2: FloatArray = field(default_factory=lambda: _empty(0, 2))
    """When the work on it began and ended."""
    stages: tuple[str, ...] = ()
    """The K stages, in the order in which they were met."""
    stage_SK: FloatArray = field(default_factory=lambda: _empty(0, 0))
    """Seconds that a span spent in each stage."""
    samples_AU: FloatArray = field(default_factory=lambda: _empty(0, len(SAMPLED)))
    """What was in use, about once a second; see `SAMPLED`. NaN: not known."""

    @property
    def first_kept(self) -> int:
        """The first batch whose spans are kept."""
        return max(0, len(self.timeline_B3) - KEPT_BATCHES)

    @property
    def workers(self) -> list[int]:
        """The workers that made something, the training loop left out."""
        return sorted({int(worker) for worker in self.worker_S if worker >= 0})

    def ready(self) -> tuple[FloatArray, FloatArray]:
        """Return when the number of batches that lay ready changed, and to what.

        Only of batches made by workers: what the training loop makes is used at once.
        """
        made = self.worker_S >= 0
        batch_R, at = np.unique(self.batch_S[made], return_index=True)
        if not len(batch_R):
            return _empty(0), _empty(0)
        made_R = np.maximum.reduceat(self.span_S2[made, 1], at)
        times = np.concatenate([made_R, np.maximum(self.timeline_B3[batch_R, 1], made_R)])
        change = np.repeat(np.array([1, -1]), len(batch_R))
        order = np.lexsort((-change, times))
        return times[order], np.cumsum(change[order]).astype(np.float64)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint can hold."""
        import torch  # takes seconds: not for those who only import the monitor

        values = {name: getattr(self, name) for name in self.__slots__}
        return {
            name: value if name == "stages" else torch.from_numpy(np.ascontiguousarray(value))
            for name, value in values.items()
        }

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Recording:
        """Return the recording of a `state`."""
        return cls(
            **{name: value if name == "stages" else value.numpy() for name, value in state.items()}
        )


def spans_as_arrays(
    made: Iterable[tuple[int, tuple[Span, ...]]], *, zero_s: float
) -> dict[str, Any]:
    """Return the fields of a `Recording` that tell of spans, given with the number of their batch.

    Args:
        zero_s: when the epoch began, as spans tell the time.
    """
    rows = [(batch, span) for batch, spans in made for span in spans]
    # A dict for its order: that of the first who met them.
    stages = tuple({name: None for _, span in rows for name in span.stages if _is_time(name)})
    times = [(span.begin_s, span.end_s) for _, span in rows]
    seconds = [[span.stages.get(name, 0.0) for name in stages] for _, span in rows]
    return {
        "batch_S": np.array([batch for batch, _ in rows], dtype=np.int64),
        "worker_S": np.array([span.worker for _, span in rows], dtype=np.int64),
        "span_S2": np.array(times, dtype=np.float64).reshape(-1, 2) - zero_s,
        "stages": stages,
        "stage_SK": np.array(seconds, dtype=np.float64).reshape(len(rows), len(stages)),
    }


def _is_time(name: str) -> bool:
    return not name.startswith("num_")
