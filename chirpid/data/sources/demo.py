"""The demo set: synthetic birds, recorded by synthetic recordists. Made once, then kept."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from chirpid.audio.encode import can_write, encode_audio
from chirpid.data.manifest import NO_FOLD, Manifest
from chirpid.data.sources.birdsong import Bird, Species, Wave, sing
from chirpid.data.sources.fieldwork import Kit, Recorder, draw_kit, record
from chirpid.data.sources.species import SPECIES
from chirpid.errors import ConfigError
from chirpid.seeds import mix64, text_key
from chirpid.storage.atomic import storage_error, sync_folder, write_bytes, write_text

VERSION = 1
"""Raised whenever the same settings would sound different."""
NOTE = (
    "The demo set is synthetic: its birds, recordists and noises are computed. "
    "Scores on it say that the program works, nothing about birds."
)
_README = f"{NOTE}\nMade by chirpid dataset=demo; safe to delete, it is made again when needed.\n"
_STALE_S = 3600.0
_SUFFIXES = {"WAV": "wav", "FLAC": "flac", "OGG": "ogg", "MP3": "mp3"}
_MIN_RECORDISTS = 6
"""Each species is recorded by so many people, so that five folds can all have it."""
_BACKGROUND_SHARE = 0.2
"""Share of the recordings in which another species is heard behind."""


@dataclass(frozen=True, slots=True)
class Settings:
    """All that the set depends on."""

    num_species: int
    num_recordists: int
    recordings_per_species: int
    min_s: float
    max_s: float
    seed: int

    @property
    def folder(self) -> str:
        """Return the name of the folder that holds exactly this set."""
        text = json.dumps({"version": VERSION, "mp3": can_write("MP3"), **asdict(self)})
        return f"demo-{hashlib.sha256(text.encode()).hexdigest()[:12]}"

    def draw(self, *what: object) -> np.random.Generator:
        """Return a generator for one purpose; no other draw changes its numbers."""
        return np.random.default_rng(int(mix64(self.seed, text_key(repr(what)))))


@dataclass(frozen=True, slots=True)
class Take:
    """One recording to make."""

    species: int
    recordist: int
    number: int
    background: int | None


def make_demo(
    root: Path,
    *,
    num_species: int = 6,
    num_recordists: int = 10,
    recordings_per_species: int = 16,
    min_s: float = 3.0,
    max_s: float = 14.0,
    seed: int = 0,
    num_threads: int | None = None,
) -> Manifest:
    """Return the demo set with these settings, made below `root` unless it is there already.

    The decoded samples depend on the settings alone. A killed run leaves no set, and two processes
    may make one set at once: each writes its own folder, and the first to finish gives its own.

    Raises:
        ConfigError: more species than there are; lengths at odds.
        StorageError: `root` cannot be written.
    """
    if not 2 <= num_species <= len(SPECIES):
        raise ConfigError(
            f"dataset.demo.num_species={num_species} is not allowed: 2 to {len(SPECIES)}."
        )
    if not 0.2 <= min_s <= max_s:
        raise ConfigError(
            f"dataset.demo.min_s={min_s:g} is not allowed: 0.2 <= min_s <= max_s={max_s:g}."
        )
    settings = Settings(num_species, num_recordists, recordings_per_species,
                        float(min_s), float(max_s), seed)  # fmt: skip
    folder = root / settings.folder
    if not (folder / "metadata.csv").is_file():
        _make(folder, settings, num_threads or os.cpu_count() or 1)
    return read_demo(folder)


def read_demo(folder: Path) -> Manifest:
    """Return the manifest of a demo set that has been made."""
    made = pd.read_csv(folder / "metadata.csv", dtype=str, keep_default_na=False)
    table = pd.DataFrame(
        {
            "recording": made["filename"],
            "label": made["label"],
            "group": made["recordist"],
            "fold": np.full(len(made), NO_FOLD, dtype=np.int64),
            "secondary": made["secondary"],
        }
    )
    classes = tuple(sorted(set(made["label"])))
    return Manifest("demo", folder, table, classes, notes=(NOTE,), synthetic=True)


def plan(settings: Settings) -> list[Take]:
    """Return who records what: everybody a little, each species mostly by a few."""
    takes: list[Take] = []
    uses = np.zeros(settings.num_recordists)
    for species in range(settings.num_species):
        draw = settings.draw("plan", species)
        people = min(settings.num_recordists, _MIN_RECORDISTS, settings.recordings_per_species)
        chosen = np.argsort(uses + draw.random(len(uses)), kind="stable")[:people]
        weight = draw.gamma(0.6, size=people) + 0.05
        rest = draw.choice(
            chosen, settings.recordings_per_species - people, p=weight / weight.sum()
        )
        for number, recordist in enumerate([*chosen.tolist(), *rest.tolist()]):
            uses[recordist] += 1
            others = [other for other in range(settings.num_species) if other != species]
            heard = draw.random() < _BACKGROUND_SHARE
            takes.append(
                Take(species, recordist, number, int(draw.choice(others)) if heard else None)
            )
    return takes


def _make(folder: Path, settings: Settings, num_threads: int) -> None:
    """Make the set in a folder of its own, then rename it."""
    _remove_stale(folder)
    work = folder.with_name(f".{folder.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    takes = plan(settings)
    try:
        (work / "audio").mkdir(parents=True)
        with ThreadPoolExecutor(num_threads) as pool:
            rows = list(pool.map(lambda take: _write_take(work, take, settings), takes))
        table = pd.DataFrame(rows)
        write_text(work / "metadata.csv", table.to_csv(index=False, lineterminator="\n"))
        write_text(work / "README.txt", _README)
        _give(work, folder)
    except OSError as error:
        raise storage_error(error, folder) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _give(work: Path, folder: Path) -> None:
    try:
        os.rename(work, folder)
    except OSError:
        if not (folder / "metadata.csv").is_file():
            raise
        return  # another process was first, with the same samples
    sync_folder(folder.parent)


def _remove_stale(folder: Path) -> None:
    """Remove what killed runs left of this set; a run in progress writes more often than that."""
    for left in folder.parent.glob(f".{folder.name}.*.tmp"):
        audio = left / "audio"
        touched = max(path.stat().st_mtime for path in (left, audio) if path.exists())
        if time.time() - touched > _STALE_S:
            shutil.rmtree(left, ignore_errors=True)


def _write_take(work: Path, take: Take, settings: Settings) -> dict[str, str]:
    """Make one recording and return its row of the table."""
    kit = draw_kit(take.recordist, settings.draw("kit", take.recordist))
    recorder = _writable(kit.recorder)
    kit = replace(kit, recorder=recorder)
    wave = record(_song(take, kit, settings), kit, settings.draw("field", take))
    name = f"audio/{_slug(SPECIES[take.species])}_{take.number:03d}.{_SUFFIXES[recorder.container]}"
    write_bytes(work / name, encode_audio(wave, recorder.sample_rate_hz,
                container=recorder.container, subtype=recorder.subtype))  # fmt: skip
    return {
        "filename": name,
        "label": SPECIES[take.species].name,
        "recordist": f"recordist {take.recordist + 1:02d}",
        "secondary": "" if take.background is None else SPECIES[take.background].name,
        "duration_s": f"{len(wave) / recorder.sample_rate_hz:.3f}",
        "sample_rate_hz": str(recorder.sample_rate_hz),
        "num_channels": str(recorder.num_channels),
        "format": recorder.container,
    }


def _song(take: Take, kit: Kit, settings: Settings) -> Wave:
    """Return the dry song, and the far one of another species behind it."""
    draw = settings.draw("song", take)
    rate = kit.recorder.sample_rate_hz
    # Many short and few long recordings, as people make them.
    duration_s = settings.min_s + (settings.max_s - settings.min_s) * float(draw.random()) ** 1.3
    song = sing(
        SPECIES[take.species], _bird(take.species, take, draw, settings), duration_s, rate, draw
    )
    if take.background is not None:
        bird = _bird(take.background, take, draw, settings)
        far = sing(SPECIES[take.background], bird, duration_s, rate, draw)
        song = song + 10.0 ** (-float(draw.uniform(12.0, 20.0)) / 20.0) * far
    return song


def _bird(species: int, take: Take, draw: np.random.Generator, settings: Settings) -> Bird:
    """Return an individual: the dialect of the recordist's region, and its own voice."""
    region = settings.draw("dialect", species, take.recordist)
    pitch = float(region.normal(1.0, 0.05)) * float(draw.normal(1.0, 0.02))
    tempo = float(region.normal(1.0, 0.07)) * float(draw.normal(1.0, 0.04))
    return Bird(pitch=float(np.clip(pitch, 0.8, 1.25)), tempo=float(np.clip(tempo, 0.7, 1.4)))


def _writable(recorder: Recorder) -> Recorder:
    """Return the recorder, or one that writes WAV where libsndfile cannot write its format."""
    if can_write(recorder.container, recorder.subtype):
        return recorder
    return Recorder(recorder.sample_rate_hz, "WAV", "PCM_16", recorder.num_channels)


def _slug(species: Species) -> str:
    return species.name.lower().replace(" ", "_")
