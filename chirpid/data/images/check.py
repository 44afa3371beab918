"""Look at every image before it is used, so that none is found bad in the middle of an epoch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import IO

from PIL import Image

from chirpid.data.general.bad_items import BadItem, Oddity
from chirpid.data.images.files import (
    UnusableImageError,
    has_alpha,
    is_animated,
    is_deep,
    open_file,
    open_image,
    read_pixels,
    size_of,
    turn_of,
    why_no_scale,
)
from chirpid.data.images.rule import PixelRule

CHECKS = ("header", "full", "none")
_TAIL_BYTES = 64
_PNG_END = b"IEND\xaeB`\x82"
_JPEG_END = b"\xff\xd9"
_GIF_END = b";"
MAX_THREADS = 8


@dataclass(frozen=True, slots=True)
class LookedAt:
    """What looking at images showed, in their order."""

    bad: dict[int, str]
    """Why an image cannot be used, by its place."""
    oddities: list[Oddity]


def look_at(
    root: str, names: Sequence[str], rule: PixelRule, *, full: bool, num_threads: int | None = None
) -> LookedAt:
    """Return what is wrong or odd about the images `names` below `root`.

    Args:
        full: decode every image. Otherwise only headers are read, and of images that do not end as
            their format has it, which may be cut off, all is decoded.
        num_threads: None takes one for each core, at most 8.
    """
    cores = os.process_cpu_count() if hasattr(os, "process_cpu_count") else os.cpu_count()
    bad: dict[int, str] = {}
    oddities: list[Oddity] = []

    def look(name: str) -> str | list[str]:
        try:
            return _look_at_one(os.path.join(root, name), rule, full)
        except UnusableImageError as error:
            return error.reason

    pool = ThreadPoolExecutor(num_threads or min(MAX_THREADS, cores or 1), "look-at-images")
    with pool, warnings.catch_warnings():
        # Pillow warns of what is refused, or noted, here in words of ours.
        warnings.simplefilter("ignore")
        for place, seen in enumerate(pool.map(look, names, chunksize=64)):
            if isinstance(seen, str):
                bad[place] = seen
            else:
                oddities += [Oddity(kind, names[place]) for kind in seen]
    return LookedAt(bad, oddities)


def bad_items(looked: LookedAt, names: Sequence[str]) -> list[BadItem]:
    """Return the bad images with their names."""
    return [BadItem(names[place], reason) for place, reason in looked.bad.items()]


def _look_at_one(path: str, rule: PixelRule, full: bool) -> list[str]:
    """Return what is odd about an image.

    Raises:
        UnusableImageError: it cannot be used.
    """
    with open_file(path) as file:
        image = open_image(path, file)
        reason = why_no_scale(image) or rule.why_no_size(*size_of(image))
        if reason:
            raise UnusableImageError(path, reason)
        odd = _oddities(image, rule)
        if full or not _ends_well(image, file):
            read_pixels(path, image)
        return odd


def _oddities(image: Image.Image, rule: PixelRule) -> list[str]:
    odd = []
    if is_animated(image):
        odd.append("Animated, of which the first frame is taken")
    if has_alpha(image):
        odd.append("With an alpha channel, whose transparent places lie over white")
    if is_deep(image) and rule.bits == 8:
        odd.append("Of 16 bits a level, scaled to 8 (bits=16 with channels='L' keeps them)")
    if image.mode == "CMYK":
        odd.append("CMYK, turned into RGB without a colour profile")
    if turn_of(image) is not None:
        odd.append("Turned upright as EXIF says")
    return odd


def _ends_well(image: Image.Image, file: IO[bytes]) -> bool:
    """Return whether the file ends as its format has it; False where nobody can tell."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read()
    if image.format == "PNG":
        return tail.endswith(_PNG_END)
    if image.format in ("JPEG", "MPO"):
        return tail.rstrip(b"\0").endswith(_JPEG_END)
    if image.format == "GIF":
        return tail.rstrip(b"\0").endswith(_GIF_END)
    if image.format == "WEBP":  # the container says how long it is
        file.seek(4)
        return size >= 8 + int.from_bytes(file.read(4), "little")
    return False
