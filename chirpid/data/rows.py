"""From a segment id to the row that a store keeps: decode, resample, front end, narrow.

Every mode makes its rows here, one segment at a time and on one thread, so that all modes hold
the same bits.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from chirpid.audio.decode import Decoder, Float32
from chirpid.audio.frontend import FrontEnd
from chirpid.audio.resample import implementation as resampling
from chirpid.audio.resample import source_span, to_rate_into
from chirpid.data.buffers import ThreadBuffers
from chirpid.data.kept import RowSpec, Stages, add_stages
from chirpid.data.segments import SegmentTable
from chirpid.data.wav_rows import WavRows
from chirpid.errors import ConfigError
from chirpid.types import Keep, StoreDtype

Watch = Callable[[int, Tensor, Tensor], None]

_buffers = ThreadBuffers()


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
        self._wav_rows = WavRows(segments, self.frontend, self.spec, self.num_samples)

    @property
    def implementation(self) -> str:
        """What makes the rows: "native-1", or what each part runs on where they differ.

        Rows of another implementation differ in their last bits.
        """
        parts = {"resampling": resampling()}
        if self.spec.keep is Keep.spectrogram:
            parts["front end"] = self.frontend.implementation
        if len(set(parts.values())) == 1:
            return parts["resampling"]
        return ", ".join(f"{part} {name}" for part, name in parts.items())

    def make(self, index: int, out: Tensor, stages: Stages) -> None:
        """Write segment `index` into the kept row `out`; add seconds spent to `stages`."""
        with torch.inference_mode(), one_thread(), self._timed_open(index, stages) as decoder:
            self._make(index, decoder, out, stages)

    def make_batch(self, ids: Sequence[int], out: Tensor, stages: Stages) -> None:
        """Write segments into float32 `out` [B, *shape], with the bits that kept rows give back."""
        assert out.is_contiguous(), "rows are written by their address"
        with torch.inference_mode(), one_thread():
            for position in self._wav_rows.make(ids, out, stages):
                index, row = ids[position], out[position]
                with self._timed_open(index, stages) as decoder:
                    self._values_into(index, decoder, row, stages)
                begin = time.perf_counter()
                self.spec.through_kept(row)
                add_stages(stages, {"frontend": time.perf_counter() - begin})

    def make_range(self, first: int, end: int, out: Tensor, watch: Watch | None = None) -> None:
        """Write segments first..end-1 into `out` [n, *shape], opening each recording once.

        Args:
            watch: told of every row as (segment, float32 values, row as kept).
        """
        recordings = self.segments.recording_N[first:end]
        with torch.inference_mode(), one_thread():
            for recording in dict.fromkeys(recordings.tolist()):
                with self.open(recording) as decoder:
                    for offset in (recordings == recording).nonzero()[0].tolist():
                        self._make(first + offset, decoder, out[offset], Stages(), watch)

    def close(self) -> None:
        """Release what making rows needs; nothing where they are made from recordings."""

    def open(self, recording: int) -> Decoder:
        """Return an open decoder of a recording."""
        table = self.segments
        return Decoder(
            os.path.join(table.root, table.recordings[recording]),
            channel=int(table.channel_R[recording]),
            format=table.formats[recording],
        )

    def waveform(self, index: int, decoder: Decoder, stages: Stages) -> Tensor:
        """Return float32 [T] of segment `index` at the front end's rate, zero-padded."""
        wave = np.empty(self.num_samples, dtype=np.float32)
        with torch.inference_mode(), one_thread():
            self._waveform_into(index, decoder, wave, stages)
        return torch.from_numpy(wave)

    def _timed_open(self, index: int, stages: Stages) -> Decoder:
        begin = time.perf_counter()
        decoder = self.open(int(self.segments.recording_N[index]))
        add_stages(stages, {"decode": time.perf_counter() - begin})
        return decoder

    def _make(
        self,
        index: int,
        decoder: Decoder,
        out: Tensor,
        stages: Stages,
        watch: Watch | None = None,
    ) -> None:
        in_place = self.spec.dtype is StoreDtype.float32 and out.is_contiguous()
        values = out if in_place else _buffers.take("row", self.spec.shape)
        self._values_into(index, decoder, values, stages)
        begin = time.perf_counter()
        if not in_place:
            self.spec.narrow(values, out)
        if watch is not None:
            watch(index, values, out)
        add_stages(stages, {"frontend": time.perf_counter() - begin})

    def _values_into(self, index: int, decoder: Decoder, out: Tensor, stages: Stages) -> None:
        """Write segment `index` into float32 `out`, contiguous: waveform or spectrogram."""
        if self.spec.keep is Keep.waveform:
            self._waveform_into(index, decoder, out.numpy(), stages)
            return
        wave_T = _buffers.take("wave", (self.num_samples,))
        self._waveform_into(index, decoder, wave_T.numpy(), stages)
        begin = time.perf_counter()
        self.frontend.into(wave_T, out)
        add_stages(stages, {"frontend": time.perf_counter() - begin})

    def _waveform_into(self, index: int, decoder: Decoder, wave: Float32, stages: Stages) -> None:
        table = self.segments
        start, to_hz = int(table.start_N[index]), self.frontend.sample_rate_hz
        from_hz = int(table.sample_rate_R[table.recording_N[index]])
        begin = time.perf_counter()
        if from_hz == to_hz:
            decoder.window_into(wave, start)
            decoded = time.perf_counter()
        else:
            first, length = source_span(start, len(wave), from_hz=from_hz, to_hz=to_hz)
            frames = _buffers.take("frames", (length,)).numpy()
            decoder.window_into(frames, first)
            decoded = time.perf_counter()
            to_rate_into(frames, wave, from_hz=from_hz, to_hz=to_hz)
        resampled = time.perf_counter()
        add_stages(stages, {"decode": decoded - begin, "resample": resampled - decoded})


def note_on_lazy(segments: SegmentTable) -> str | None:
    """Return what `mode=lazy` has to decode and throw away, if that is more than it keeps.

    A seek in MP3 is not exact, so each file is decoded from its start up to the window.
    """
    is_mp3_N = segments.formats.equal_to("MP3")[segments.recording_N]
    before_s = (segments.start_N / segments.sample_rate_R[segments.recording_N])[is_mp3_N]
    if before_s.sum() <= len(segments) * segments.rule.duration_s:
        return None
    return (
        f"{len(before_s)} of {len(segments)} windows lie in MP3 files, on average "
        f"{before_s.mean():.0f} s from the start. mode=lazy decodes each file up to its window, "
        "in every epoch; mode=cached decodes them once"
    )


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
