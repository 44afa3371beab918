"""Find the recordings that a table names, inside the dataset's folder and nowhere else."""

from __future__ import annotations

import os
import unicodedata
from functools import cached_property
from pathlib import Path, PureWindowsPath

# fmt: off
AUDIO_SUFFIXES = frozenset((
    ".wav", ".wave", ".bwf", ".w64", ".rf64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2",
    ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
))
UNREAD_SUFFIXES = frozenset((
    ".m4a", ".mp4", ".aac", ".wma", ".wv", ".ape", ".amr", ".webm", ".mka", ".3gp",
))
# fmt: on
"""Sound that libsndfile does not read: not overlooked, but named with what to do."""


class Finder:
    """Turns file names of a table into recordings: posix paths relative to `root`."""

    def __init__(self, root: Path, audio_dir: str = "") -> None:
        self.root = root
        self.base = root / audio_dir
        self._folders: dict[Path, dict[str, str]] = {}

    def find(self, name: str) -> tuple[str, str | None]:
        """Return (recording, None), or (tidied name, why it cannot be used)."""
        name = name.replace("\\", "/")
        if PureWindowsPath(name).drive:
            return name, f"is a path of another computer. Use paths relative to {self.base}"
        place = Path(os.path.normpath(self.base / name))
        relative = self._inside(place)
        if relative is None:
            return name, f"lies outside of dataset.root={self.root}, and nothing is read there"
        try:
            relative.encode()
        except UnicodeEncodeError:
            return ascii(relative), "has a name that is not valid UTF-8. Rename it"
        if place.is_file():
            return relative, None
        return self._look_closer(place, relative)

    def _inside(self, place: Path) -> str | None:
        for root in (self._lexical_root, self._real_root):
            if place.is_relative_to(root) and place != root:
                return place.relative_to(root).as_posix()
        return None

    @cached_property
    def _lexical_root(self) -> Path:
        return Path(os.path.normpath(self.root))

    @cached_property
    def _real_root(self) -> Path:
        return self.root.resolve()

    def _look_closer(self, place: Path, relative: str) -> tuple[str, str | None]:
        """Find a file of the same name in another Unicode form, or hint at one that is close."""
        if place.is_dir():
            return relative, "is a folder, not a file"
        names = self._names_in(place.parent)
        form = unicodedata.normalize("NFC", place.name)
        if place.is_symlink():
            return relative, "is a link that leads nowhere"
        if form in names:  # macOS keeps names decomposed, tables hold them composed
            return (Path(relative).parent / names[form]).as_posix(), None
        for known in names.values():
            if known.lower() == place.name.lower():
                return relative, f"does not exist; there is '{known}', in other case"
        for known in names.values():
            if Path(known).stem == place.stem:
                return relative, f"does not exist; there is '{known}' instead"
        return relative, f"does not exist in {self.root}"

    def _names_in(self, folder: Path) -> dict[str, str]:
        if folder not in self._folders:
            try:
                found = sorted(os.listdir(folder))
            except OSError:
                found = []
            self._folders[folder] = {unicodedata.normalize("NFC", name): name for name in found}
        return self._folders[folder]


def is_hidden(name: str) -> bool:
    """Return whether a folder scan passes over `name`: hidden files and macOS's side files."""
    return name.startswith(".") or name == "__MACOSX"


def leads_outside(root: Path, recordings: list[str]) -> list[str]:
    """Return the recordings that are links to places outside of `root`."""
    real = root.resolve()
    inside = {
        folder: (root / folder).resolve() for folder in {os.path.dirname(r) for r in recordings}
    }
    found = []
    for recording in recordings:
        place = root / recording
        target = place.resolve() if place.is_symlink() else inside[os.path.dirname(recording)]
        if not target.is_relative_to(real):
            found.append(recording)
    return found
