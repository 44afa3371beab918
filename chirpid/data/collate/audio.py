"""Batches of recordings of unlike length.

Letters: B batch, C channels, T samples in time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from chirpid.data.collate.default import collate_fields, some, stack, told_kind
from chirpid.data.collate.fields import AUDIO_KEYS, check_field, field_path, is_array
from chirpid.data.collate.padding import (
    Padded,
    PadRule,
    PadSettings,
    check_bounds,
    is_numbers,
    one_of,
    pad,
    tensors_of,
)
from chirpid.data.collate.tree import Field, LeafCollate, Path, at, path_of, path_text
from chirpid.errors import ConfigError, DataError

RATE_KEYS = ("sample_rate_hz", "sample_rate", "sampling_rate", "rate", "sr", "fs")
RATES_HZ = frozenset(
    (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 88200, 96000, 192000, 250000,
     256000, 384000)
)  # fmt: skip
"""What recorders and telephones use. In a tuple, a whole number right behind the waveform is taken
for its rate if it is one of these in every sample of the batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioCollator(PadSettings):
    """Pads or crops waveforms; the recording becomes a `Padded` in its place, the rest is stacked.

    Lengths and mask count samples in time. Values stay as they are: nothing is scaled, resampled
    or mixed down.
    """

    field: Field | None = None
    """Where the waveform is; None to look for it."""
    rate_field: Field | None = None
    """Where its sample rate is; None for a number beside it under one of `RATE_KEYS`."""
    num_samples: int | None = None
    """Length of every batch in samples; None for the longest waveform of the batch."""
    max_samples: int | None = None
    """The most that is kept of a waveform."""
    channels: str = "auto"
    """Which axis of a waveform of two axes holds the channels: "first" for [C, T], "last" for
    [T, C]; "auto" takes the first, and refuses a waveform with more channels than samples."""

    def __post_init__(self) -> None:
        check_bounds(self.multiple_of, num_samples=self.num_samples, max_samples=self.max_samples)
        if self.num_samples is not None and self.max_samples is not None:
            raise ConfigError(
                f"num_samples={self.num_samples} makes all batches as long, so that max_samples="
                f"{self.max_samples} has no meaning. Leave one of them out."
            )
        _ = self.rule
        one_of("channels", self.channels, ("auto", "first", "last"))

    @property
    def rule(self) -> PadRule:
        """How lengths are made equal."""
        return self.rule_of([-1], length=self.num_samples, max_length=self.max_samples)

    def __call__(self, samples: Sequence[Any]) -> Any:
        """Return the samples as one batch, with `Padded` values [B, T] or [B, C, T].

        Raises:
            DataError: no samples, no waveform or several, mixed sample rates, number types or
                channels, or a recording that is too long.
        """
        some(samples)
        here = field_path(samples[0], self.field, keys=AUDIO_KEYS, fits=_is_wave, what="waveform")
        special: dict[Path, LeafCollate] = {here: self._padded}
        if self.rate_field is not None:
            check_field(samples[0], path_of(self.rate_field))
            special[path_of(self.rate_field)] = _same_rate
        elif (rate := _rate_path(samples, here)) is not None:
            special[rate] = _same_rate
        return collate_fields(samples, special)

    def _padded(self, path: Path, values: Sequence[Any]) -> Padded:
        waves = tensors_of(path, values)
        for n, wave in enumerate(waves):
            if wave.dtype != waves[0].dtype:
                raise DataError(
                    f"{path_text(path)} is {told_kind(waves[0])} in sample 0 of the batch and "
                    f"{told_kind(wave)} in sample {n}, and their scales differ. Convert them "
                    "in the dataset."
                )
            self._check_axes(path, wave, n, dim=waves[0].dim())
        if waves[0].dim() == 2 and self.channels == "last":
            waves = [wave.T for wave in waves]
        odd = next((n for n, wave in enumerate(waves) if wave.shape[:-1] != waves[0].shape[:-1]), 0)
        if odd:
            raise DataError(
                f"{path_text(path)} has {waves[0].shape[0]} channels in sample 0 of the batch and "
                f"{waves[odd].shape[0]} in sample {odd}. Mix them to one number in the dataset."
            )
        return pad(path, waves, self.rule)

    def _check_axes(self, path: Path, wave: Tensor, n: int, *, dim: int) -> None:
        if wave.dim() not in (1, 2):
            raise DataError(
                f"{path_text(path)} is {told_kind(wave)} in sample {n} of the batch. A waveform is "
                "[T] or [C, T]."
            )
        if wave.dim() != dim:
            raise DataError(
                f"{path_text(path)} has {dim} axes in sample 0 of the batch and {wave.dim()} in "
                f"sample {n}: one with channels, one without. Give all [C, T], as with wave[None]."
            )
        if dim == 2 and self.channels == "auto" and 0 < wave.shape[1] < wave.shape[0]:
            raise DataError(
                f"{path_text(path)} is {told_kind(wave)} in sample {n} of the batch, more channels "
                'than samples if channels come first. Set channels="last" if it is [T, C], '
                'channels="first" if not.'
            )


def _is_wave(value: object) -> bool:
    if is_array(value):
        return value.ndim in (1, 2)  # type: ignore[attr-defined]
    return is_numbers(value) and bool(value)


def _rate_path(samples: Sequence[Any], wave: Path) -> Path | None:
    """Return the way to the sample rate that is given beside the waveform, if one is."""
    if not wave:
        return None
    above, step = wave[:-1], wave[-1]
    for key in (*RATE_KEYS, step + 1) if isinstance(step, int) else RATE_KEYS:
        try:
            rates = [at(sample, (*above, key)) for sample in samples]
        except LookupError:
            continue
        is_rate = all(isinstance(rate, (int, float, np.number)) for rate in rates)
        if is_rate and (isinstance(key, str) or RATES_HZ.issuperset(rates)):
            return (*above, key)
    return None


def _same_rate(path: Path, values: Sequence[Any]) -> Any:
    odd = next((n for n, rate in enumerate(values) if rate != values[0]), None)
    if odd is not None:
        raise DataError(
            f"{path_text(path)} is {values[0]} Hz in sample 0 of the batch and {values[odd]} Hz in "
            f"sample {odd}. Resample in the dataset, as with torchaudio.functional.resample."
        )
    return stack(path, values)
