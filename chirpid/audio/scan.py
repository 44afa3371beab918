"""Decode a whole recording once, in bounded memory, and say what training wants to know of it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from chirpid.audio.decode import BLOCK_SAMPLES, read_block
from chirpid.audio.files import (
    Info,
    UnusableRecordingError,
    cannot_read,
    info_of,
    open_recording,
    probe,
    read_no_further,
)
from chirpid.audio.mono import MEAN, Float32, choose_channel, make_finite, to_mono
from chirpid.audio.segment import LEVEL_STEP_S

STEPS_PER_S = round(1 / LEVEL_STEP_S)
LEVEL_FLOOR_DB = -120.0
FULL_SCALE = 0.999
CLIPPED_SHARE = 1e-3
SILENT_SHARE = 0.3
LOUDEST_SANE = 8.0
"""A float recording that peaks above this was probably written in the scale of integers."""
RATES_HZ = (1000, 1_000_000)
HASH_BYTES = 16
END_BYTES = 1 << 16
LONGEST_SANE_S = 30 * 86400.0
"""A header that promises more than a month holds a placeholder."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something odd about a recording that can be used all the same."""

    kind: str
    """What is odd, in words that are the same for all recordings it concerns."""
    detail: str


@dataclass(frozen=True, slots=True)
class Scan:
    """What decoding a whole recording showed."""

    sample_rate_hz: int
    num_frames: int
    """Frames that decoded, whatever the header says."""
    num_channels: int
    format: str
    subtype: str
    channel: int
    """The channel to take, or -1 for the mean of all."""
    peak: float
    """Largest absolute sample of any channel; 1 is full scale."""
    num_bad_samples: int
    """NaN or infinite; they are read as 0."""
    audio_hash: str
    """Of the mono samples and the sample rate: equal for the same audio in another container."""
    file_hash: str
    """Of the bytes of the file."""
    levels: Float32
    """RMS level in dB re full scale of the mono signal, one a quarter second, at least -120."""
    findings: tuple[Finding, ...]

    @property
    def duration_s(self) -> float:
        return self.num_frames / self.sample_rate_hz


def scan(path: Path) -> Scan:
    """Return what decoding all of `path` shows.

    Raises:
        UnusableRecordingError: the file cannot be opened, or does not decode to its end.
    """
    with open_recording(path) as file:
        info = info_of(file)
        _refuse_odd_rate(path, info)
        tally = _Tally(info)
        try:
            while len(block := read_block(file, _block_frames(info), info)):
                tally.add(block)
        except soundfile.SoundFileError as error:
            after_s = tally.num_frames / info.sample_rate_hz
            raise cannot_read(path, error, f" after {after_s:.1f} s") from error
    return tally.result(info, hash_file(path))


def scan_header(path: Path) -> Scan:
    """Return what the header of `path` promises, in the form of a scan.

    Nothing is decoded: the length may be wrong, channels are averaged, both hashes come from the
    two ends of the file, and all levels are 0 dB, so that no window is taken for silence.

    Raises:
        UnusableRecordingError: the file cannot be opened, or its header states no length.
    """
    info = probe(path)
    _refuse_odd_rate(path, info)
    if info.num_frames / info.sample_rate_hz > LONGEST_SANE_S:
        raise UnusableRecordingError(path, "states no length in its header; use dataset.check=full")
    ends = _hash_ends(path)
    num_levels = -(-info.num_frames * STEPS_PER_S // info.sample_rate_hz)
    return Scan(
        sample_rate_hz=info.sample_rate_hz,
        num_frames=info.num_frames,
        num_channels=info.num_channels,
        format=info.format,
        subtype=info.subtype,
        channel=MEAN,
        peak=0.0,
        num_bad_samples=0,
        audio_hash=ends,
        file_hash=ends,
        levels=np.zeros(num_levels, dtype=np.float32),
        findings=(),
    )


def _hash_ends(path: Path) -> str:
    """Return a digest of the size and the two ends of a file: the same for a copy, and quick."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    with open(path, "rb") as handle:
        read_no_further(handle.fileno())
        size = handle.seek(0, 2)
        digest.update(size.to_bytes(8, "little"))
        for at in (0, max(0, size - END_BYTES)):
            handle.seek(at)
            digest.update(handle.read(END_BYTES))
    return digest.hexdigest()


def hash_file(path: Path) -> str:
    """Return a hex digest of the bytes of `path`."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    with open(path, "rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


class _Tally:
    """Sums over the blocks of a recording, for the mean (column 0) and for each channel."""

    def __init__(self, info: Info) -> None:
        self.info = info
        self.columns = 1 if info.num_channels == 1 else 1 + info.num_channels
        self.num_frames = 0
        self.num_bad = 0
        self.num_clipped = 0
        self.num_silent = 0
        self.peak = 0.0
        self.spans: list[npt.NDArray[np.float64]] = []
        self.hashes = [hashlib.blake2b(digest_size=HASH_BYTES) for _ in range(self.columns)]

    def add(self, block: Float32) -> None:
        """Take in the next frames, float32 [frames, channels]."""
        self.num_bad += make_finite(block)
        loudness = np.abs(block).max(axis=1)
        self.peak = max(self.peak, float(loudness.max()))
        self.num_clipped += int(np.count_nonzero(loudness >= FULL_SCALE))
        self.num_silent += int(np.count_nonzero(loudness == 0))
        for column in range(self.columns):
            mono = np.ascontiguousarray(to_mono(block, column - 1))
            self.hashes[column].update(mono.data)
            self._add_energy(column, mono)
        self.num_frames += len(block)

    def _edges(self, first: int, stop: int) -> npt.NDArray[np.int64]:
        """Return the frames at which spans `first` to `stop` begin; exact, so that none drift."""
        spans = np.arange(first, stop, dtype=np.int64)
        return -(-spans * self.info.sample_rate_hz // STEPS_PER_S)

    def _add_energy(self, column: int, mono: Float32) -> None:
        """Add squares to the spans that `mono` reaches into; blocks need not end with a span."""
        first = self.num_frames * STEPS_PER_S // self.info.sample_rate_hz
        last = (self.num_frames + len(mono) - 1) * STEPS_PER_S // self.info.sample_rate_hz
        starts = np.maximum(self._edges(first, last + 1) - self.num_frames, 0)
        sums = np.add.reduceat(np.square(mono, dtype=np.float64), starts)
        while len(self.spans) <= last:
            self.spans.append(np.zeros(self.columns))
        for index, value in enumerate(sums, start=first):
            self.spans[index][column] += value

    def result(self, info: Info, file_hash: str) -> Scan:
        """Return the scan, once all blocks are in."""
        energies = np.array(self.spans).reshape(-1, self.columns)
        total = energies.sum(axis=0)
        channel = MEAN if self.columns == 1 else choose_channel(float(total[0]), total[1:])
        digest = self.hashes[channel + 1]
        digest.update(info.sample_rate_hz.to_bytes(8, "little"))
        return Scan(
            sample_rate_hz=info.sample_rate_hz,
            num_frames=self.num_frames,
            num_channels=info.num_channels,
            format=info.format,
            subtype=info.subtype,
            channel=channel,
            peak=self.peak,
            num_bad_samples=self.num_bad,
            audio_hash=digest.hexdigest(),
            file_hash=file_hash,
            levels=self._levels(energies[:, channel + 1]),
            findings=tuple(self._findings(channel)),
        )

    def _levels(self, energies: npt.NDArray[np.float64]) -> Float32:
        ends = np.minimum(self._edges(1, len(energies) + 1), self.num_frames)
        frames = np.diff(ends, prepend=0)
        floor = 10 ** (LEVEL_FLOOR_DB / 10)
        levels: Float32 = (10 * np.log10(np.maximum(energies / frames, floor))).astype(np.float32)
        return levels

    def _findings(self, channel: int) -> list[Finding]:
        found: list[Finding] = []
        if not self.num_frames:
            return found
        if self.num_bad:
            found.append(Finding("NaN or infinite samples, read as 0", f"{self.num_bad}"))
        if channel != MEAN:
            text = "Channels that cancel when averaged, so that the loudest is taken"
            found.append(Finding(text, f"channel {channel + 1} of {self.columns - 1}"))
        found += self._findings_of_level()
        promised_s = (self.info.num_frames - self.num_frames) / self.info.sample_rate_hz
        if abs(promised_s) > 1e-3 and promised_s < 1e9:
            text = "Another length than the header says; what decodes is used"
            found.append(Finding(text, f"{-promised_s:+.2f} s"))
        return found

    def _findings_of_level(self) -> list[Finding]:
        silent = self.num_silent / self.num_frames
        clipped = self.num_clipped / self.num_frames
        if silent == 1:
            return [Finding("Digital silence from end to end", "all zeros")]
        found: list[Finding] = []
        if silent > SILENT_SHARE:
            text = f"Digital silence for over {SILENT_SHARE:.0%} of the length"
            found.append(Finding(text, f"{silent:.0%}"))
        if self.peak > LOUDEST_SANE:
            text = "Peaks far above full scale, as if written in the scale of integers"
            found.append(Finding(text, f"{self.peak:.3g}"))
        elif clipped > CLIPPED_SHARE:
            text = f"Clipped: full scale in over {CLIPPED_SHARE:.1%} of the samples"
            found.append(Finding(text, f"{clipped:.1%}"))
        return found


def _block_frames(info: Info) -> int:
    return max(1, BLOCK_SAMPLES // info.num_channels)


def _refuse_odd_rate(path: Path, info: Info) -> None:
    if not RATES_HZ[0] <= info.sample_rate_hz <= RATES_HZ[1]:
        raise UnusableRecordingError(
            path,
            f"claims a sample rate of {info.sample_rate_hz} Hz; its header is damaged "
            f"({RATES_HZ[0]} to {RATES_HZ[1]} Hz are read)",
        )
