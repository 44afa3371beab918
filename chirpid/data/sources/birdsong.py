"""Songs of birds that do not exist: notes, phrases, and individuals that sing them.

A note is a tone whose pitch follows a path, with overtones, vibrato, flutter and breath. A phrase
repeats notes, may rise and quicken. A species sings its phrases with pauses; each bird of it has
its own pitch and tempo, and no two renditions are equal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Wave = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Note:
    """One unbroken sound."""

    duration_s: float
    path_hz: tuple[float, ...]
    """Pitch at equal steps of the note; between them it glides evenly in octaves."""
    gap_s: float = 0.05
    overtones: tuple[float, ...] = ()
    """Amplitudes of the second harmonic and up, relative to the first."""
    vibrato_hz: float = 0.0
    vibrato_share: float = 0.0
    """Largest deviation of the pitch, as a share of it."""
    flutter_hz: float = 0.0
    """Rate at which the loudness pulses: a buzz or a churr."""
    breath: float = 0.0
    """Share of noise around the pitch: a hoarse voice."""


@dataclass(frozen=True, slots=True)
class Phrase:
    """Notes, repeated."""

    notes: tuple[Note, ...]
    repeats: tuple[int, int] = (1, 1)
    """Fewest and most."""
    pitch_step: float = 1.0
    """Factor on the pitch from one repeat to the next."""
    gap_step: float = 1.0
    """Factor on the gaps from one repeat to the next: below 1 it quickens."""
    shuffled: bool = False
    """Notes come in random order, as in a warble."""


@dataclass(frozen=True, slots=True)
class Species:
    """A name, and the phrases of a song."""

    name: str
    phrases: tuple[Phrase, ...]
    pause_s: tuple[float, float] = (0.5, 1.5)
    """Shortest and longest silence between two songs."""


@dataclass(frozen=True, slots=True)
class Bird:
    """An individual: factors on the pitch and the tempo of its species."""

    pitch: float = 1.0
    tempo: float = 1.0


def sing(
    species: Species, bird: Bird, duration_s: float, sample_rate_hz: int, draw: np.random.Generator
) -> Wave:
    """Return a recording's worth of song, songs and pauses, float64 [T], peaks near 1."""
    wave = np.zeros(max(1, round(duration_s * sample_rate_hz)))
    at_s = float(draw.uniform(0.05, 0.5))
    while at_s < duration_s:
        loudness = float(draw.uniform(0.7, 1.0))
        for phrase in species.phrases:
            at_s = _sing_phrase(wave, phrase, bird, at_s, loudness, sample_rate_hz, draw)
        at_s += float(draw.uniform(*species.pause_s))
    return wave


def _sing_phrase(
    wave: Wave,
    phrase: Phrase,
    bird: Bird,
    at_s: float,
    loudness: float,
    sample_rate_hz: int,
    draw: np.random.Generator,
) -> float:
    """Add the phrase to `wave` and return the time at which it ends, seconds."""
    for repeat in range(int(draw.integers(phrase.repeats[0], phrase.repeats[1] + 1))):
        order = draw.permutation(len(phrase.notes)) if phrase.shuffled else range(len(phrase.notes))
        for index in order:
            note = phrase.notes[index]
            pitch = bird.pitch * phrase.pitch_step**repeat * float(draw.normal(1.0, 0.012))
            tempo = bird.tempo * float(np.clip(draw.normal(1.0, 0.04), 0.8, 1.25))
            sound = render_note(note, pitch, tempo, sample_rate_hz, draw)
            start = round(at_s * sample_rate_hz)
            stop = min(len(wave), start + len(sound))
            if start < stop:
                wave[start:stop] += loudness * float(draw.uniform(0.8, 1.0)) * sound[: stop - start]
            at_s += len(sound) / sample_rate_hz + note.gap_s * phrase.gap_step**repeat / tempo
    return at_s


def render_note(
    note: Note, pitch: float, tempo: float, sample_rate_hz: int, draw: np.random.Generator
) -> Wave:
    """Return one note, float64 [T] in [-1, 1]. Overtones near half the sample rate are left out."""
    num = max(8, round(note.duration_s / tempo * sample_rate_hz))
    time_s = np.arange(num) / sample_rate_hz
    pitch_hz = pitch * _glide(note.path_hz, num)
    if note.vibrato_hz:
        swing = np.sin(2 * np.pi * (note.vibrato_hz * tempo * time_s + draw.random()))
        pitch_hz = pitch_hz * (1.0 + note.vibrato_share * swing)
    if note.breath:
        pitch_hz = pitch_hz * (1.0 + note.breath * _slow_noise(num, 400.0, sample_rate_hz, draw))
    phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate_hz
    wave = np.zeros(num)
    for number, amplitude in enumerate((1.0, *note.overtones), start=1):
        audible = number * pitch_hz < 0.45 * sample_rate_hz
        wave += amplitude * audible * np.sin(number * phase)
    wave /= 1.0 + sum(note.overtones)
    if note.flutter_hz:
        wave *= 0.5 - 0.5 * np.cos(2 * np.pi * note.flutter_hz * tempo * time_s)
    return wave * _envelope(num, sample_rate_hz)


def _glide(path_hz: tuple[float, ...], num: int) -> Wave:
    """Return a pitch that passes the points of the path and is level at each, float64 [num]."""
    place = np.linspace(0.0, len(path_hz) - 1.0, num)
    before = np.minimum(place.astype(np.int64), len(path_hz) - 2)
    share = place - before
    share = share * share * (3.0 - 2.0 * share)
    octaves = np.log2(path_hz)
    glide = octaves[before] + share * (octaves[before + 1] - octaves[before])
    return np.asarray(np.exp2(glide), dtype=np.float64)


def _envelope(num: int, sample_rate_hz: int) -> Wave:
    """Return a quick rise and a slower fall without clicks, float64 [num]."""
    rise = max(1, min(num // 4, round(0.012 * sample_rate_hz)))
    fall = max(1, min(num // 2, round(0.05 * sample_rate_hz)))
    shape = np.ones(num)
    shape[:rise] = 0.5 - 0.5 * np.cos(np.pi * np.arange(rise) / rise)
    shape[-fall:] *= 0.5 + 0.5 * np.cos(np.pi * (np.arange(fall) + 1) / fall)
    return shape


def _slow_noise(num: int, rate_hz: float, sample_rate_hz: int, draw: np.random.Generator) -> Wave:
    """Return noise that changes `rate_hz` times a second, float64 [num], deviation about 1."""
    knots = draw.standard_normal(max(2, round(num * rate_hz / sample_rate_hz) + 2))
    return np.interp(np.linspace(0, len(knots) - 1, num), np.arange(len(knots)), knots)
