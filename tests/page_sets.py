"""The folders of recordings that the pages name."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

from tests.sounds import write_set


def write_sets(place: Path) -> None:
    """Write every folder that the pages name, with a second of sound in each recording."""
    birds = write_set(place / "birds", num_classes=2, groups=5, per_group=2, seconds=1.0)
    table = pd.read_csv(birds / "metadata.csv")
    table = table.assign(species=table.label, recordist=table.group, quality=list("ABCAB") * 4)
    table.to_csv(birds / "metadata.csv", index=False)
    sources = [birds / name for name in table.filename]
    for path, row in zip(sources, table.itertuples(), strict=True):
        copy(path, place / "recordings" / row.label / path.name)
        copy(path, place / "birdclef-2024" / "train_audio" / path.name)
        copy(path, place / "ESC-50" / "audio" / path.name)
        # Read by content: a name that says .wav is enough for the example.
        number = f"{row.group}_{row.label}_{row.Index}.wav".replace(" ", "-")
        copy(path, place / "spring" / number)
    names = [path.name for path in sources]
    clef = {"primary_label": table.label, "secondary_labels": "[]", "author": table.group}
    pd.DataFrame({**clef, "filename": names}).to_csv(
        place / "birdclef-2024" / "train_metadata.csv", index=False
    )
    folds = [int(group.split()[1]) + 1 for group in table.group]
    (place / "ESC-50" / "meta").mkdir()
    pd.DataFrame(
        {"filename": names, "fold": folds, "category": table.label, "src_file": table.group}
    ).to_csv(place / "ESC-50" / "meta" / "esc50.csv", index=False)
    write_messy(birds, place / "messy")


def copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def write_messy(birds: Path, messy: Path) -> None:
    """Write the birds again, with eight rows that cannot be used."""
    shutil.copytree(birds, messy)
    (messy / "audio" / "empty.wav").write_bytes(b"")
    (messy / "audio" / "page.mp3").write_text("<!DOCTYPE html><html>not found</html>")
    (messy / "audio" / "notes.wav").write_text("heard at dawn\n")
    write_set(messy / "more", num_classes=1, groups=1, seconds=0.01)
    shutil.move(messy / "more" / "audio" / "000.wav", messy / "audio" / "short.wav")
    shutil.rmtree(messy / "more")
    rows = [
        "audio/empty.wav,bird 0,person 0", "audio/page.mp3,bird 1,person 1",
        "audio/notes.wav,bird 1,person 1", "audio/short.wav,bird 0,person 2",
        "audio/lost.wav,bird 0,person 3", "../birds/audio/001.flac,bird 0,person 0",
        "audio/003.wav,,person 1", "audio/000.wav,bird 1,person 0",
    ]  # fmt: skip
    with open(messy / "metadata.csv", "a", encoding="utf-8") as table:
        table.writelines(f"{row},,,\n" for row in rows)
