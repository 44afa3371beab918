"""From a segment id to the row that a store keeps: decode, resample, front end, narrow.

Every mode makes its rows here, one segment at a time and on one thread, so that all modes hold
the same bits.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from chirpid.audio.decode import Decoder
from chirpid.audio.frontend import FrontEnd
from chirpid.audio.resample import source_span, to_rate
from chirpid.data.kept import RowSpec, Stages
from chirpid.data.segments import SegmentTable
from chirpid.errors import ConfigError
from chirpid.types import Keep, StoreDtype

Watch = Callable[[int, Tensor, Tensor], None]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on the calling thread alone: the sum of a product then has one order."""
    before = torch.get_num_threads()
    if before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class RowMaker:
    """Makes rows of a segment table.

    Args:
        frontend: applied when `keep` is spectrogram; its rate is what recordings are resampled to.
    """

    def __init__(
        self, segments: SegmentTable, frontend: FrontEnd, *, keep: Keep, dtype: StoreDtype
    ) -> None:
        self.segments = segments
        self.frontend = frontend.cpu().eval()
        self.num_samples = round(segments.rule.duration_s * frontend.sample_rate_hz)
        shape: tuple[int, ...] = (self.num_samples,)
        if keep is Keep.spectrogram:
            shape = (frontend.num_mels, frontend.num_frames(self.num_samples))
        self.spec = RowSpec(keep, dtype, shape, *_value_range(frontend, keep, dtype))

    def make(self, index: int, out: Tensor, stages: Stages) -> None:
        """Write segment `index` into the kept row `out`; add seconds spent to `stages`."""
        begin = time.perf_counter()
        with self.open(int(self.segments.recording_N[index])) as decoder:
            _add(stages, "decode", time.perf_counter() - begin)
            self._make(index, decoder, out, stages)

    def make_range(self, first: int, end: int, out: Tensor, watch: Watch | None = None) -> None:
        """Write segments first..end-1 into `out` [n, *shape], opening each recording once.

        Args:
            watch: told of every row as (segment, float32 values, row as kept).
        """
        recordings = self.segments.recording_N[first:end]
        for recording in dict.fromkeys(recordings.tolist()):
            with self.open(recording) as decoder:
                for offset in (recordings == recording).nonzero()[0].tolist():
                    self._make(first + offset, decoder, out[offset], Stages(), watch)

    def open(self, recording: int) -> Decoder:
        """Return an open decoder of a recording."""
        table = self.segments
        return Decoder(
            Path(table.root, table.recordings[recording]),
            channel=int(table.channel_R[recording]),
            format=table.formats[recording],
        )

    def _make(
        self,
        index: int,
        decoder: Decoder,
        out: Tensor,
        stages: Stages,
        watch: Watch | None = None,
    ) -> None:
        values = self.waveform(index, decoder, stages)
        begin = time.perf_counter()
        with torch.inference_mode(), one_thread():
            if self.spec.keep is Keep.spectrogram:
                values = self.frontend(values[None])[0]
            self.spec.narrow(values, out)
            if watch is not None:
                watch(index, values, out)
        _add(stages, "frontend", time.perf_counter() - begin)

    def waveform(self, index: int, decoder: Decoder, stages: Stages) -> Tensor:
        """Return float32 [T] of segment `index` at the front end's rate, zero-padded."""
        table = self.segments
        from_hz = int(table.sample_rate_R[table.recording_N[index]])
        to_hz = self.frontend.sample_rate_hz
        first, length = source_span(
            int(table.start_N[index]), self.num_samples, from_hz=from_hz, to_hz=to_hz
        )
        begin = time.perf_counter()
        frames = decoder.window(first, length)
        decoded = time.perf_counter()
        with torch.inference_mode(), one_thread():
            wave_T = to_rate(frames, self.num_samples, from_hz=from_hz, to_hz=to_hz)
        _add(stages, "decode", decoded - begin)
        _add(stages, "resample", time.perf_counter() - decoded)
        return wave_T


def _value_range(frontend: FrontEnd, keep: Keep, dtype: StoreDtype) -> tuple[float, float]:
    """Return the values of the first and the last step of uint8; (0, 1) for other number types.

    Raises:
        ConfigError: what is kept has no such range.
    """
    if dtype is not StoreDtype.uint8:
        return 0.0, 1.0
    low, high = frontend.floor_db, frontend.ceiling_db
    if keep is Keep.waveform or low is None or high is None:
        raise ConfigError("mode.dtype=uint8 keeps log-mel spectrograms alone. Use another one.")
    return low, high


def _add(stages: Stages, name: str, seconds: float) -> None:
    stages[name] = stages.get(name, 0.0) + seconds
