"""Waveform to the bytes of an audio file."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile

from chirpid.errors import ConfigError

_BLOCK_FRAMES = 65536
"""libsndfile's Vorbis encoder overflows its stack on long single writes."""


def encode_audio(
    wave: npt.NDArray[np.float32],
    sample_rate_hz: int,
    *,
    container: str = "WAV",
    subtype: str | None = None,
) -> bytes:
    """Return the bytes of an audio file.

    Args:
        wave: float32 [T] or [T, channels] in [-1, 1]; louder samples clip.
        container: "WAV", "FLAC", "OGG" or "MP3", as libsndfile calls them.
        subtype: "PCM_16", "PCM_24", "VORBIS", ...; None takes the container's usual one.
    Raises:
        ConfigError: this libsndfile cannot write that.
    """
    if not can_write(container, subtype):
        raise ConfigError(
            f"Cannot write {container} {subtype or ''} with libsndfile "
            f"{soundfile.__libsndfile_version__}. Use WAV or FLAC."
        )
    channels = 1 if wave.ndim == 1 else wave.shape[1]
    buffer = io.BytesIO()
    with soundfile.SoundFile(
        buffer, "w", sample_rate_hz, channels, subtype, None, container
    ) as file:
        for start in range(0, len(wave), _BLOCK_FRAMES):
            file.write(np.clip(wave[start : start + _BLOCK_FRAMES], -1.0, 1.0))
    return buffer.getvalue()


def write_audio(
    path: Path,
    wave: npt.NDArray[np.float32],
    sample_rate_hz: int,
    *,
    container: str = "WAV",
    subtype: str | None = None,
) -> None:
    """Write `wave` as `encode_audio` encodes it; a kill in the middle leaves half a file."""
    data = encode_audio(wave, sample_rate_hz, container=container, subtype=subtype)
    path.write_bytes(data)


def can_write(container: str, subtype: str | None = None) -> bool:
    """Return whether this libsndfile writes such files; MP3 needs 1.1 or newer."""
    return container in soundfile.available_formats() and (
        subtype is None or subtype in soundfile.available_subtypes(container)
    )
