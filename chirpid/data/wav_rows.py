"""Rows of a batch from WAV files, all of them in one native call.

Clip by clip, threads would wait for Python's lock about as often as they decode; here they ask for
it once a batch. The rows have the bits of `RowMaker.make`: the same functions make them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor

from chirpid import native
from chirpid.audio.frontend import FrontEnd
from chirpid.audio.resample import context_outputs, native_resampler, source_span
from chirpid.data.kept import RowSpec, Stages, add_stages
from chirpid.data.segments import SegmentTable
from chirpid.native.wavrows import Clip, RowRule, wav_rows
from chirpid.types import IntArray, Keep


class WavRows:
    """Makes those rows of a segment table that need neither libsndfile nor torch."""

    def __init__(
        self, segments: SegmentTable, frontend: FrontEnd, spec: RowSpec, num_samples: int
    ) -> None:
        self.segments, self.frontend = segments, frontend
        self.spec, self.num_samples = spec, num_samples
        self._is_wav_R = segments.formats.equal_to("WAV")

    def make(self, ids: Sequence[int], out: Tensor, stages: Stages) -> Sequence[int]:
        """Write rows into float32 `out` [B, *shape], contiguous, as they are after being kept.

        Returns:
            the positions in `ids` that are left to do, whatever stands in the way: that is found
            out, and told, by who does them.
        """
        ids_B = np.asarray(ids, dtype=np.int64)
        rule = self._rule()
        if rule is None or not self._is_wav_R[self.segments.recording_N[ids_B]].any():
            return range(len(ids))
        left, seconds = wav_rows(rule, list(self._clips(ids_B)), out.data_ptr())
        add_stages(stages, seconds)
        return left

    def _rule(self) -> RowRule | None:
        """Return what is done with samples; None where the native library does not do all of it."""
        spec = self.spec
        is_wave = spec.keep is Keep.waveform
        plan = None if is_wave else self.frontend.native_plan()
        if native.handle() is None or (plan is None and not is_wave):
            return None
        return RowRule(
            self.num_samples, math.prod(spec.shape), plan, spec.dtype.value, spec.steps,
            spec.scale, spec.offset,
        )  # fmt: skip

    def _clips(self, ids_B: IntArray) -> Iterator[Clip]:
        table = self.segments
        recording_B = table.recording_N[ids_B]
        columns = (
            recording_B, table.start_N[ids_B], self._is_wav_R[recording_B],
            table.sample_rate_R[recording_B], table.channel_R[recording_B],
        )  # fmt: skip
        to_hz = self.frontend.sample_rate_hz
        for recording, start, is_wav, from_hz, channel in zip(
            *(column.tolist() for column in columns), strict=True
        ):
            path = os.path.join(table.root, table.recordings[recording])
            encoded = os.fsencode(path) if is_wav else None
            resampler = native_resampler(from_hz, to_hz)
            length, skip = self.num_samples, 0
            if resampler is not None:
                start, length = source_span(start, length, from_hz=from_hz, to_hz=to_hz)
                skip = context_outputs(from_hz, to_hz)
            yield Clip(encoded, start, length, resampler, skip, channel)
