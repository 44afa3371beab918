"""What comes between a bird and a file: distance, echo, weather, microphone, recorder.

All of it but the distance belongs to the recordist, as in real collections; so a model that is
tested on recordists it was trained on can pass by knowing the microphone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chirpid.data.sources.birdsong import Wave

_Spectrum = npt.NDArray[np.complex128]
_SONG_BAND_HZ = 1000.0
"""Noise is measured from here up: wind below it does not hide a song."""


@dataclass(frozen=True, slots=True)
class Recorder:
    """Rate and format of the files of a recordist."""

    sample_rate_hz: int
    container: str
    subtype: str
    num_channels: int = 1


RECORDERS: tuple[Recorder, ...] = (
    Recorder(44100, "WAV", "PCM_16", 2),
    Recorder(32000, "FLAC", "PCM_16"),
    Recorder(48000, "WAV", "PCM_24"),
    Recorder(44100, "MP3", "MPEG_LAYER_III"),
    Recorder(32000, "OGG", "VORBIS"),
    Recorder(22050, "WAV", "PCM_16"),
    Recorder(48000, "OGG", "VORBIS", 2),
    Recorder(44100, "FLAC", "PCM_24"),
)


@dataclass(frozen=True, slots=True)
class Kit:
    """A recordist's equipment and usual place."""

    recorder: Recorder
    tilt_db: float
    """Microphone: gain per octave above 1 kHz."""
    peak_hz: float
    peak_db: float
    low_cut_hz: float
    level_dbfs: float
    """Usual peak level of the files; near 0 some of them clip."""
    colour: float
    """Slope of the background noise, power ~ 1 / f^colour."""
    wind_db: float
    insect_hz: float
    insect_db: float
    """Level of one insect's tone against the noise; far below 0 there is none."""
    hum_db: float
    """Mains hum re full scale."""
    echo_s: float
    """Time in which the echo dies away by 60 dB."""
    snr_db: tuple[float, float]
    """Range of song to noise."""


def draw_kit(number: int, draw: np.random.Generator) -> Kit:
    """Return the kit of recordist `number`; recorders take turns, the rest is drawn."""
    weak = float(draw.uniform(3.0, 10.0))
    return Kit(
        recorder=RECORDERS[number % len(RECORDERS)],
        tilt_db=float(draw.uniform(-4.0, 2.0)),
        peak_hz=float(draw.uniform(1800.0, 7000.0)),
        peak_db=float(draw.uniform(-8.0, 12.0)),
        low_cut_hz=float(draw.uniform(60.0, 350.0)),
        level_dbfs=float(draw.uniform(-24.0, 1.5)),
        colour=float(draw.uniform(0.5, 1.8)),
        wind_db=float(draw.uniform(-12.0, 14.0)),
        insect_hz=float(draw.uniform(4200.0, 8800.0)),
        insect_db=float(draw.uniform(-35.0, 2.0)),
        hum_db=float(draw.uniform(-90.0, -50.0)),
        echo_s=float(draw.uniform(0.1, 0.7)),
        snr_db=(weak, weak + float(draw.uniform(8.0, 18.0))),
    )


def record(song: Wave, kit: Kit, draw: np.random.Generator) -> npt.NDArray[np.float32]:
    """Return what the kit makes of a dry song, float32 [T] or [T, 2] in [-1, 1].

    Args:
        song: float64 [T] at the kit's sample rate.
    """
    num_samples = len(song)
    size = -(-(num_samples + kit.recorder.sample_rate_hz // 2) // 4096) * 4096
    freq_hz = np.fft.rfftfreq(size, 1.0 / kit.recorder.sample_rate_hz).astype(np.float64)
    distance = float(draw.uniform(0.1, 1.0))
    heard = np.fft.rfft(song, size) * _echo(kit, size, distance, draw)
    heard *= 10.0 ** (-distance * 9.0 * (freq_hz / 8000.0) / 20.0)  # air takes the treble
    snr_db = float(draw.uniform(*kit.snr_db))
    microphone = _microphone(kit, freq_hz)
    shared = _noise(kit, size, freq_hz, draw)
    channels = []
    for channel in range(kit.recorder.num_channels):
        noise = shared if channel == 0 else 0.5 * shared + _noise(kit, size, freq_hz, draw)
        noise = noise * _noise_gain(heard, noise, freq_hz, snr_db, song)
        late = np.exp(-2j * np.pi * freq_hz * 4e-4 * channel)  # spaced microphones: 14 cm of path
        mixed = np.fft.irfft((heard * late + noise) * microphone, size)[:num_samples]
        channels.append(mixed)
    wave = np.stack(channels, axis=1)
    level_dbfs = kit.level_dbfs + float(draw.normal(0.0, 3.0))
    wave *= 10.0 ** (level_dbfs / 20.0) / max(float(np.abs(wave).max()), 1e-9)
    wave += _hum(kit, num_samples)[:, None]
    clipped = np.clip(wave, -1.0, 1.0).astype(np.float32)
    return clipped if kit.recorder.num_channels > 1 else clipped[:, 0]


def _echo(kit: Kit, size: int, distance: float, draw: np.random.Generator) -> _Spectrum:
    """Return the spectrum of direct sound and dying echo; the farther, the more echo."""
    num = round(kit.echo_s * kit.recorder.sample_rate_hz)
    tail = draw.standard_normal(num) * 10.0 ** (-3.0 * np.arange(num) / num)
    impulse = np.zeros(size)
    impulse[:num] = tail * (0.6 * distance / np.sqrt(np.sum(tail**2)))
    impulse[0] += 1.0
    return np.fft.rfft(impulse)


def _noise(kit: Kit, size: int, freq_hz: Wave, draw: np.random.Generator) -> _Spectrum:
    """Return the spectrum of background noise, wind and an insect; its level is set later."""
    shape = (np.maximum(freq_hz, 40.0) / 1000.0) ** (-kit.colour / 2)
    shape += 10.0 ** (kit.wind_db / 20.0) * np.exp(-((freq_hz / 180.0) ** 2)) * 8.0
    spectrum = np.fft.rfft(draw.standard_normal(size)) * shape
    time_s = np.arange(size) / kit.recorder.sample_rate_hz
    pulse = 0.5 + 0.5 * np.sin(2 * np.pi * (3.0 + kit.insect_hz / 2000.0) * time_s)
    drift = 1.0 + 0.002 * np.sin(2 * np.pi * 0.3 * time_s + float(draw.uniform(0, 6)))
    tone = np.sin(2 * np.pi * kit.insect_hz * np.cumsum(drift) / kit.recorder.sample_rate_hz)
    insect = np.fft.rfft(tone * pulse) * 10.0 ** (kit.insect_db / 20.0)
    return np.asarray(spectrum + insect)


def _noise_gain(
    heard: _Spectrum, noise: _Spectrum, freq_hz: Wave, snr_db: float, song: Wave
) -> float:
    """Return the factor on `noise` that gives the wanted ratio while the bird sings."""
    sings = max(float(np.mean(song != 0.0)), 0.02)
    song_power = float(np.sum(np.abs(heard) ** 2)) / sings
    band = freq_hz >= _SONG_BAND_HZ
    noise_power = max(float(np.sum(np.abs(noise[band]) ** 2)), 1e-12)
    return float(np.sqrt(song_power / noise_power) * 10.0 ** (-snr_db / 20.0))


def _microphone(kit: Kit, freq_hz: Wave) -> Wave:
    """Return the gain of the microphone at each frequency: tilt, one resonance, low cut."""
    octaves = np.log2(np.maximum(freq_hz, 20.0) / 1000.0)
    peak = np.exp(-0.5 * ((octaves - np.log2(kit.peak_hz / 1000.0)) / 0.35) ** 2)
    low_cut = 1.0 / np.sqrt(1.0 + (kit.low_cut_hz / np.maximum(freq_hz, 1.0)) ** 4)
    gain_db = kit.tilt_db * np.maximum(octaves, 0.0) + kit.peak_db * peak
    return np.asarray(low_cut * 10.0 ** (gain_db / 20.0))


def _hum(kit: Kit, num_samples: int) -> Wave:
    time_s = np.arange(num_samples) / kit.recorder.sample_rate_hz
    tones = np.sin(2 * np.pi * 50.0 * time_s) + 0.5 * np.sin(2 * np.pi * 150.0 * time_s)
    return np.asarray(10.0 ** (kit.hum_db / 20.0) * tones)
