"""Find the recordings that a table names, inside the dataset's folder and nowhere else."""

from __future__ import annotations

import os
import unicodedata
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

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


class _Listing(NamedTuple):
    """The names in a folder, by what a wrong name may share with them."""

    by_form: dict[str, str]
    by_lower: dict[str, str]
    by_stem: dict[str, str]


class Finder:
    """Turns file names of a table into recordings: posix paths relative to `root`."""

    def __init__(self, root: Path, audio_dir: str = "") -> None:
        self.root = root
        self.base = root / audio_dir
        self._folders: dict[Path, _Listing] = {}

    def find(self, name: str) -> tuple[str, str | None]:
        """Return (recording, None), or (tidied name, why it cannot be used)."""
        name = name.replace("\\", "/")
        if name[1:2] == ":" and name[0].isalpha() and os.name != "nt":
            return name, f"is a path of another computer. Use paths relative to {self.base}"
        # strings, not Path objects: a large table has a hundred thousand of them
        place = os.path.normpath(os.path.join(self.base, name))
        relative = self._inside(place)
        if relative is None:
            return name, f"lies outside of dataset.root={self.root}, and nothing is read there"
        try:
            relative.encode()
        except UnicodeEncodeError:
            return ascii(relative), "has a name that is not valid UTF-8. Rename it"
        if os.path.isfile(place):
            return relative, None
        return self._look_closer(Path(place), relative)

    def _inside(self, place: str) -> str | None:
        """Return the posix path of `place` relative to the root, None if it is not inside."""
        for root in self._roots:
            if place.startswith(root):
                return place[len(root) :].replace(os.sep, "/")
        return None

    @cached_property
    def _roots(self) -> list[str]:
        """The root as given and with its links resolved, each with a separator at the end."""
        roots = (os.path.normpath(self.root), os.path.realpath(self.root))
        return [os.path.join(root, "") for root in roots]

    def _look_closer(self, place: Path, relative: str) -> tuple[str, str | None]:
        """Find a file of the same name in another Unicode form, or hint at one that is close."""
        if place.is_dir():
            return relative, "is a folder, not a file"
        if place.is_symlink():
            return relative, "is a link that leads nowhere"
        listing = self._listing(place.parent)
        same = listing.by_form.get(unicodedata.normalize("NFC", place.name))
        if same:  # macOS keeps names decomposed, tables hold them composed
            return (Path(relative).parent / same).as_posix(), None
        other = listing.by_lower.get(place.name.lower())
        if other:
            return relative, f"does not exist; there is '{other}', in other case"
        other = listing.by_stem.get(place.stem)
        if other:
            return relative, f"does not exist; there is '{other}' instead"
        return relative, f"does not exist in {self.root}"

    def _listing(self, folder: Path) -> _Listing:
        if folder not in self._folders:
            try:
                names = sorted(os.listdir(folder), reverse=True)
            except OSError:
                names = []
            self._folders[folder] = _Listing(
                by_form={unicodedata.normalize("NFC", name): name for name in names},
                by_lower={name.lower(): name for name in names},
                by_stem={Path(name).stem: name for name in names},
            )
        return self._folders[folder]


def is_hidden(name: str) -> bool:
    """Return whether a folder scan passes over `name`: hidden files and macOS's side files."""
    return name.startswith(".") or name == "__MACOSX"


def leads_outside(root: Path, recordings: list[str]) -> list[str]:
    """Return the recordings that are links to places outside of `root`."""
    real = os.path.join(os.path.realpath(root), "")
    folders: dict[str, bool] = {}
    found = []
    for recording in recordings:
        place = os.path.join(root, recording)
        folder = os.path.dirname(place)
        if folder not in folders:
            folders[folder] = os.path.join(os.path.realpath(folder), "").startswith(real)
        is_inside = folders[folder]
        if os.path.islink(place):
            is_inside = os.path.realpath(place).startswith(real)
        if not is_inside:
            found.append(recording)
    return found
