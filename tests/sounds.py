"""Recordings made on the spot, for tests: tones with noise, in several rates and formats."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

RATES = (16000, 22050, 32000, 44100, 48000)
FORMATS = (("wav", "PCM_16"), ("flac", "PCM_16"), ("ogg", "VORBIS"), ("wav", "FLOAT"))


def tone(
    hz: float, seconds: float, rate_hz: int, *, seed: int = 0, level: float = 0.3
) -> np.ndarray:
    """Return float32 [T]: a tone with a little noise."""
    time_s = np.arange(round(seconds * rate_hz)) / rate_hz
    noise = np.random.default_rng(seed).standard_normal(len(time_s)) * 0.01
    return (level * np.sin(2 * np.pi * hz * time_s) + noise).astype(np.float32)


def write_set(
    folder: Path, *, num_classes: int = 3, groups: int = 4, per_group: int = 1, seconds: float = 2.3
) -> Path:
    """Write `metadata.csv` and one recording per class, group and repetition; return the folder.

    Each class is a tone of its own; rates and formats alternate.
    """
    rows = []
    (folder / "audio").mkdir(parents=True)
    for number in range(num_classes * groups * per_group):
        label, group = number % num_classes, number // num_classes % groups
        rate = RATES[number % len(RATES)]
        suffix, subtype = FORMATS[number % len(FORMATS)]
        wave = tone(600.0 * (label + 1), seconds + 0.37 * (number % 3), rate, seed=number)
        name = f"audio/{number:03d}.{suffix}"
        soundfile.write(folder / name, wave, rate, subtype=subtype)
        rows.append({"filename": name, "label": f"bird {label}", "group": f"person {group}"})
    pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False)
    return folder
