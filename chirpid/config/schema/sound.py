"""Settings of what the network sees: front end, store and augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chirpid.config.schema.checks import require
from chirpid.errors import ConfigError
from chirpid.types import Keep, Mode, ReadWay, StoreDtype


class FrontEndKind(StrEnum):
    logmel = "logmel"
    pcen = "pcen"


class Normalise(StrEnum):
    none = "none"
    overall = "overall"
    band = "band"


@dataclass(kw_only=True, slots=True)
class FrontEndConfig:
    """Waveform to spectrogram."""

    kind: FrontEndKind = FrontEndKind.logmel
    sample_rate_hz: int = 32000
    fft_samples: int = 1024
    hop_samples: int = 512
    num_mels: int = 64
    fmin_hz: float = 150.0
    fmax_hz: float = 15000.0
    top_db: float = 100.0
    """Log-mel floor: values lie in [-top_db, ...] dB re full scale."""
    pcen_time_constant_s: float = 0.4
    pcen_gain: float = 0.98
    pcen_bias: float = 2.0
    pcen_power: float = 0.5
    pcen_eps: float = 1e-6
    normalise: Normalise = Normalise.band
    """Mean and deviation of the training part of each fold: none, overall, or per mel band."""
    clip_median: bool = False
    """Subtract each band's median over the clip: removes steady noise and microphone colour."""
    stats_segments: int = 2048
    """Training segments that the statistics are taken from, at most."""

    def __post_init__(self) -> None:
        nyquist = self.sample_rate_hz / 2
        require(
            self.sample_rate_hz >= 1000, "frontend.sample_rate_hz", self.sample_rate_hz, ">= 1000"
        )
        require(self.fft_samples >= 16, "frontend.fft_samples", self.fft_samples, "16 or more")
        require(0 < self.hop_samples <= self.fft_samples, "frontend.hop_samples", self.hop_samples,
                 "1 to fft_samples")  # fmt: skip
        require(self.num_mels >= 4, "frontend.num_mels", self.num_mels, "4 or more")
        require(0 <= self.fmin_hz < self.fmax_hz, "frontend.fmin_hz", self.fmin_hz,
                 "0 <= fmin_hz < fmax_hz")  # fmt: skip
        require(self.fmax_hz <= nyquist, "frontend.fmax_hz", self.fmax_hz,
                 f"at most half the sample rate, {nyquist:g} Hz")  # fmt: skip
        require(
            self.stats_segments >= 1, "frontend.stats_segments", self.stats_segments, "1 or more"
        )


@dataclass(kw_only=True, slots=True)
class ModeConfig:
    """How segments are kept between epochs."""

    name: Mode = Mode.cached
    keep: Keep = Keep.spectrogram
    """Keep spectrograms (least work per epoch) or waveforms (waveform augmentation)."""
    dtype: StoreDtype | None = None
    """None: float16 for spectrograms, int16 for waveforms. uint8 halves log-mel once more."""
    cache_gib: float = 50.0
    """Disk budget of all caches together; the least recently used are removed first."""
    read: ReadWay = ReadWay.auto
    """How mode=cached reads: a memory map (auto), or direct, which leaves the page cache alone."""
    shard_segments: int = 512
    """Segments per shard of mode=streaming, and per block of order=windowed."""
    window_segments: int = 16384
    """Shuffle window of order=windowed. One that covers the set is a full shuffle."""

    def __post_init__(self) -> None:
        if self.dtype is StoreDtype.int16 and self.keep is Keep.spectrogram:
            raise ConfigError(
                "mode.dtype=int16 is for waveforms. Use float16, or mode.keep=waveform."
            )
        if self.dtype is StoreDtype.uint8 and self.keep is Keep.waveform:
            raise ConfigError(
                "mode.dtype=uint8 keeps 8 bits of a waveform, and log-mel needs no more. "
                "Use int16, or mode.keep=spectrogram."
            )
        require(self.cache_gib > 0, "mode.cache_gib", self.cache_gib, "more than 0")
        require(self.shard_segments >= 1, "mode.shard_segments", self.shard_segments, "1 or more")
        require(
            self.window_segments >= 1, "mode.window_segments", self.window_segments, "1 or more"
        )


@dataclass(kw_only=True, slots=True)
class AugmentConfig:
    """Random changes of training segments. Each draw is keyed by (seed, epoch, segment)."""

    name: str = "none"
    gain_db: float = 0.0
    """Level changes drawn from plus or minus this."""
    noise_db: float | None = None
    """Gaussian noise up to this level re full scale, in dB (for example -50); None for none."""
    noise_range_db: float = 30.0
    """The level is drawn between `noise_db` and this much below."""
    time_shift_s: float = 0.0
    """Circular shifts drawn from plus or minus this."""
    num_freq_masks: int = 0
    freq_mask_bands: int = 8
    """Widest frequency mask, in mel bands."""
    num_time_masks: int = 0
    time_mask_s: float = 0.5
    """Widest time mask."""
    band_gain_db: float = 0.0
    """Random smooth equaliser, plus or minus this: another microphone."""
    mixup_alpha: float = 0.0
    """Beta parameter of mixup within a batch; 0 for none."""
    probability: float = 1.0
    """Share of the segments that are augmented at all."""

    def __post_init__(self) -> None:
        require(0 <= self.probability <= 1, "augment.probability", self.probability, "0 to 1")
        for name in (
            "gain_db", "time_shift_s", "num_freq_masks", "num_time_masks", "mixup_alpha",
            "band_gain_db", "freq_mask_bands", "time_mask_s", "noise_range_db",
        ):  # fmt: skip
            require(getattr(self, name) >= 0, f"augment.{name}", getattr(self, name), "0 or more")
