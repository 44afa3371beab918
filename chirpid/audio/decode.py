"""Read windows of recordings, the same samples whatever was read before.

Where a codec's seek is exact (linear codings, FLAC) the reader seeks. libsndfile 1.2.2 lands wrong
in Ogg Vorbis after short seeks forward and in the last page: short gaps are decoded through, a jump
starts from a fresh decoder and keeps out of the last pages. MP3, Opus and the rest are decoded from
the start. WAV files without oddities are read by the native library where there is one, the same
samples. Mixdown: see `chirpid.audio.mono`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import soundfile

from chirpid.audio.files import Info, Reader, cannot_read, info_of, open_recording, probe
from chirpid.audio.mono import MEAN, Float32, make_finite, to_mono
from chirpid.audio.ogg import last_safe_frame
from chirpid.errors import DataError
from chirpid.native.pcm import WavFile, int16_to_mono, open_wav

__all__ = ["MEAN", "Decoder", "Float32", "Info", "probe", "read_window", "read_windows"]

BLOCK_SAMPLES = 1 << 18
"""At most this many samples (frames times channels) are decoded at once."""
JUMP_FRAMES = 1 << 16
"""Gaps shorter than this are decoded through: cheaper than opening the file anew."""

Int16 = npt.NDArray[np.int16]

_NOTHING: Float32 = np.zeros(0, dtype=np.float32)
_kept = threading.local()


def read_window(
    path: Path,
    start_frame: int,
    num_frames: int,
    *,
    channel: int = MEAN,
    format: str | None = None,
) -> Float32:
    """Return a window of a recording as mono: zero outside the file, bad samples set to 0.

    Args:
        start_frame: first frame, in the recording's own sample rate; may be negative.
        channel: the channel to take, or `MEAN` for the mean of all.
        format: what the recording was when it was checked; another one now is an error.
    Returns:
        float32 [num_frames].
    Raises:
        DataError: the file is gone, has changed its format or cannot be decoded.
    """
    with Decoder(path, channel=channel, format=format) as decoder:
        return decoder.window(start_frame, num_frames)


def read_windows(
    path: Path,
    starts: Sequence[int],
    num_frames: int,
    *,
    channel: int = MEAN,
    format: str | None = None,
) -> Float32:
    """Return several windows of one recording, opened once; quickest if `starts` ascend.

    Returns:
        float32 [len(starts), num_frames], each row equal to `read_window` of that start.
    """
    windows = np.empty((len(starts), num_frames), dtype=np.float32)
    with Decoder(path, channel=channel, format=format) as decoder:
        for row in np.argsort(np.asarray(starts, dtype=np.int64), kind="stable"):
            decoder.window_into(windows[row], int(starts[row]))
    return windows


class Decoder:
    """One open recording. Not for two threads at once."""

    def __init__(self, path: str | Path, *, channel: int = MEAN, format: str | None = None) -> None:
        self._name = path  # a Path costs as much to make as a small file to open
        self.channel = channel
        self._wav = open_wav(path) if format in (None, "WAV") else None
        if self._wav is None:
            self._file = open_recording(self.path)
            self.info = info_of(self._file)
        else:
            self.info = _info_of_wav(self._wav)
        self._position = 0
        self._safe_frame: int | None = None
        self._kept_start = 0
        self._kept: Float32 = _NOTHING
        self._refuse_another_file(format)

    @property
    def path(self) -> Path:
        return Path(self._name)

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file. Reading after that is an error."""
        if self._wav is not None:
            self._wav.close()
        else:
            self._file.close()

    def window(self, start_frame: int, num_frames: int) -> Float32:
        """Return float32 [num_frames] from `start_frame`; see `read_window`."""
        window = np.empty(num_frames, dtype=np.float32)
        self.window_into(window, start_frame)
        return window

    def window_into(self, window: Float32, start_frame: int) -> None:
        """Fill `window`, contiguous, from `start_frame` on, as `read_window` does."""
        if self._wav is not None:
            try:
                self._wav.read_into(window, start_frame, self.channel)
            except OSError as error:
                raise cannot_read(self.path, error) from error
            return
        first, stop = max(start_frame, 0), start_frame + len(window)
        window[: max(0, first - start_frame)] = 0.0
        if first >= stop:
            return
        at = self._copy_kept(window, start_frame, first, stop)
        if at == stop:
            return
        try:
            self._go_to(at)
            self._fill(window[at - start_frame :])
        except soundfile.SoundFileError as error:
            raise cannot_read(self.path, error) from error
        if not self.info.exact_seek:
            # an overlapping window can then go on without decoding twice
            self._kept_start = first
            self._kept = window[first - start_frame : self._position - start_frame].copy()

    def _copy_kept(self, window: Float32, start_frame: int, first: int, stop: int) -> int:
        """Copy what the last window already decoded; return the first frame still wanted."""
        kept_stop = self._kept_start + len(self._kept)
        if not self._kept_start <= first < kept_stop:
            return first
        end = min(stop, kept_stop)
        part = self._kept[first - self._kept_start : end - self._kept_start]
        window[first - start_frame : end - start_frame] = part
        return end

    def _go_to(self, frame: int) -> None:
        """Bring the decoder to `frame`, or to the end if that comes first."""
        if self.info.exact_seek:
            if frame != self._position and frame < self.info.num_frames:
                self._seek(frame)
        elif self.info.subtype == "VORBIS":
            jump = min(frame, self._vorbis_limit())
            if frame < self._position or jump - self._position > JUMP_FRAMES:
                if self._position:
                    self._restart()
                self._seek(jump)
        if frame < self._position:
            self._restart()
        self._skip(frame - self._position)

    def _seek(self, frame: int) -> None:
        if frame == self._position:
            return
        try:
            self._file.seek(frame)
            self._position = frame
        except soundfile.SoundFileError:  # no length in the header, or torn: go on from the start
            self._restart()

    def _restart(self) -> None:
        self._file.close()
        self._file = open_recording(self.path)
        self._position = 0

    def _vorbis_limit(self) -> int:
        if self._safe_frame is None:
            self._safe_frame = last_safe_frame(self.path)
        return self._safe_frame

    def _skip(self, num_frames: int) -> None:
        buffer = np.empty(min(num_frames, self._block_frames()), dtype=np.float32)
        while num_frames > 0:
            got = self._read_into(buffer[:num_frames])
            if not got:
                return
            num_frames -= got

    def _fill(self, out: Float32) -> None:
        while len(out):
            got = self._read_into(out[: self._block_frames()])
            if not got:
                out[:] = 0.0
                return
            out = out[got:]

    def _read_into(self, out: Float32) -> int:
        """Decode up to `len(out)` frames to mono; return how many there were."""
        if self.info.subtype == "PCM_16":
            got = self._read_int16_into(out)
        elif self.info.num_channels == 1:
            got = len(self._file.read(out=out))
        else:
            block = read_block(self._file, len(out), self.info)
            got = len(block)
            out[:got] = to_mono(block, self.channel)
        if not self.info.subtype.startswith("PCM_"):
            make_finite(out[:got])
        self._position += got
        return got

    def _read_int16_into(self, out: Float32) -> int:
        buffer = _int16_buffer(len(out), self.info.num_channels)
        samples = self._file.read(out=buffer)
        if not int16_to_mono(samples, self.channel, out):
            out[: len(samples)] = to_mono(_scaled(samples), self.channel)
        return len(samples)

    def _block_frames(self) -> int:
        return max(1, BLOCK_SAMPLES // self.info.num_channels)

    def _refuse_another_file(self, format: str | None) -> None:
        changed = format is not None and format != self.info.format
        if changed or self.channel >= self.info.num_channels:
            self.close()
            raise DataError(
                f"{self.path.name} has changed since it was checked: {self.info.format} with "
                f"{self.info.num_channels} channels. Start again, so that it is checked anew."
            )


def read_block(file: Reader, num_frames: int, info: Info) -> Float32:
    """Return up to `num_frames` decoded frames, float32 [frames, channels]."""
    if info.subtype == "PCM_16":
        return _scaled(file.read(num_frames, dtype="int16", always_2d=True))
    block: Float32 = file.read(num_frames, dtype="float32", always_2d=True)
    return block


def _scaled(samples: Int16) -> Float32:
    # libsndfile's own conversion gives the same floats at a quarter of the speed
    scaled: Float32 = np.multiply(samples, np.float32(2.0**-15), dtype=np.float32)
    return scaled


def _int16_buffer(num_frames: int, num_channels: int) -> Int16:
    """Return an int16 buffer [num_frames, num_channels] of this thread, in use until the next."""
    buffer: Int16 | None = getattr(_kept, "int16", None)
    if buffer is None or len(buffer) < num_frames * num_channels:
        buffer = _kept.int16 = np.empty(BLOCK_SAMPLES, dtype=np.int16)
    return buffer[: num_frames * num_channels].reshape(num_frames, num_channels)


def _info_of_wav(wav: WavFile) -> Info:
    return Info(
        sample_rate_hz=wav.sample_rate_hz,
        num_frames=wav.num_frames,
        num_channels=wav.num_channels,
        format="WAV",
        subtype=wav.subtype,
    )
