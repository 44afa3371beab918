"""Open images by what they contain, and say in plain words why one cannot be used."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from functools import cache
from typing import IO

import numpy as np
import numpy.typing as npt
from PIL import Image

from chirpid.errors import DataError

IMAGE_SUFFIXES = (
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".avif", ".heic", ".heif",
)  # fmt: skip
"""HEIC is not read, but named with what to do."""
_FORMATS = (
    "PNG", "JPEG", "MPO", "GIF", "BMP", "DIB", "TIFF", "WEBP", "PPM", "TGA", "JPEG2000", "AVIF",
)  # fmt: skip
"""Pillow opens more: EPS starts another program, and films and fonts are no images."""
_DAMAGE = (
    OSError, SyntaxError, ValueError, EOFError, TypeError, IndexError, KeyError, OverflowError,
    MemoryError, struct.error, zlib.error,
)  # fmt: skip
"""What Pillow raises for damaged files: its decoders trust lengths and offsets that they read."""
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N")
_ALPHA = ("RGBA", "LA", "PA", "La", "RGBa")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip
_NOT_IMAGES = (
    (b"\x00\x05\x16\x07", "it is a side file of macOS (AppleDouble). Delete it"),
    (b"version https://git-lfs", "it is a Git LFS pointer. Fetch the image with git lfs pull"),
    (b"PK\x03\x04", "it is a ZIP archive. Unpack it first"),
    (b"\x1f\x8b", "it is compressed with gzip. Unpack it first"),
    (b"%PDF", "it is a PDF. Save its page as PNG"),
    (b"%!PS", "it is PostScript. Save it as PNG"),
)

Pixels = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]


class UnusableImageError(DataError):
    """One image cannot be used. `reason` says why, without the name of the file."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} {reason}.")
        self.path, self.reason = path, reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return type(self), (self.path, self.reason)  # it crosses from worker processes


@cache
def _readable_formats() -> tuple[str, ...]:
    Image.init()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def open_file(path: str) -> IO[bytes]:
    """Return the file, opened for reading.

    Raises:
        UnusableImageError: it is missing, a folder, a pipe, or may not be read.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):  # opening a pipe would wait for ever
            raise UnusableImageError(path, "is not a file but a folder, a pipe or a device")
        return open(path, "rb")
    except OSError as error:
        if os.path.islink(path) and not os.path.exists(path):
            raise UnusableImageError(path, "is a link that leads nowhere") from error
        raise UnusableImageError(path, f"cannot be opened: {error.strerror or error}") from error


def open_image(path: str, file: IO[bytes]) -> Image.Image:
    """Return the image whose header was read; its pixels are not.

    Raises:
        UnusableImageError: no image, damaged, or of more pixels than Pillow's limit.
    """
    try:
        image = Image.open(file, formats=_readable_formats())
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise UnusableImageError(path, _bomb_text("more")) from error
    except _DAMAGE as error:
        raise UnusableImageError(path, _why_no_image(file, error)) from error
    limit, num_pixels = Image.MAX_IMAGE_PIXELS, image.width * image.height
    if limit is not None and num_pixels > limit:
        raise UnusableImageError(path, _bomb_text(f"{image.width}×{image.height} pixels, more"))
    return image


def read_pixels(path: str, image: Image.Image) -> Image.Image:
    """Return the first frame, decoded and turned upright as its EXIF data say.

    Raises:
        UnusableImageError: it does not decode to its end.
    """
    try:
        image.load()
    except _DAMAGE as error:
        raise UnusableImageError(path, f"cannot be decoded: {_said(error)}") from error
    turn = turn_of(image)
    return image if turn is None else image.transpose(turn)


def turn_of(image: Image.Image) -> Image.Transpose | None:
    """Return how to turn the image upright; None where it is, or nothing readable says so."""
    if image.format == "TIFF":  # Pillow turns these itself
        return None
    if image.format == "PNG" and "exif" not in image.info:
        return None  # asking further would decode it
    try:
        return _TURNS.get(image.getexif().get(_ORIENTATION, 1))
    except _DAMAGE:
        return None


def is_animated(image: Image.Image) -> bool:
    """Return whether there are more frames than the first."""
    try:
        return bool(getattr(image, "is_animated", False)) and image.format != "MPO"
    except _DAMAGE:
        return False


def size_of(image: Image.Image) -> tuple[int, int]:
    """Return height and width as they are once it is upright."""
    lies = turn_of(image) in (
        Image.Transpose.TRANSPOSE, Image.Transpose.TRANSVERSE,
        Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270,
    )  # fmt: skip
    return (image.width, image.height) if lies else (image.height, image.width)


def is_deep(image: Image.Image) -> bool:
    """Return whether these are gray levels of 16 bits; Pillow has several names for them."""
    return image.mode in _DEEP or (image.mode == "I" and image.format in ("PPM", "PNG"))


def has_alpha(image: Image.Image) -> bool:
    """Return whether the image has transparent places, or may have."""
    return image.mode in _ALPHA or "transparency" in image.info


def why_no_scale(image: Image.Image) -> str | None:
    """Return what to do about pixels that have no known white; None for all others."""
    if image.mode in ("F", "I", "I;32", "I;32B") and not is_deep(image):
        kind = "floating-point" if image.mode == "F" else "32-bit"
        return (
            f"holds {kind} pixels, and nothing says which value is white. Save it with 8 or 16 "
            "bits, or keep such data in HDF5 or arrays"
        )
    return None


def to_gray_or_colour(path: str, image: Image.Image, channels: str) -> Image.Image:
    """Return a decoded image of 8 bits with these channels, "L" or "RGB".

    Transparent places lie over white, as on a web page. 16 bits are scaled to 8, not cut.

    Raises:
        UnusableImageError: nothing says which value is white.
    """
    if is_deep(image):
        levels = np.asarray(image).astype(np.uint32)
        image = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    elif (reason := why_no_scale(image)) is not None:
        raise UnusableImageError(path, reason)
    elif has_alpha(image):
        clear = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)
    elif image.mode not in ("1", "L", "P", "RGB"):
        image = image.convert("RGB")  # no other mode has a way to gray of its own
    return image if image.mode == channels else image.convert(channels)


def _bomb_text(found: str) -> str:
    return (
        f"claims {found} than Pillow's limit of {Image.MAX_IMAGE_PIXELS:,}, as files do that are "
        "meant to fill the memory. If it is yours, raise PIL.Image.MAX_IMAGE_PIXELS"
    )


def _why_no_image(file: IO[bytes], error: Exception) -> str:
    file.seek(0)
    head = file.read(4096)
    if not head:
        return "is no image: it is empty (0 bytes). Fetch it again, or drop it"
    if not any(head):
        return "is no image: it begins with nothing but zero bytes. Fetch it again"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1"):
        return "is HEIC, which is not read. Convert it to JPEG or PNG"
    for mark, reason in _NOT_IMAGES:
        if head.startswith(mark):
            return f"is no image: {reason}"
    if head.lstrip()[:1] == b"<":
        if b"<svg" in head:
            return "is a drawing (SVG), which has no pixels. Save it as PNG"
        return "is no image: it is a web page, as a failed download leaves it. Fetch it again"
    if not any(byte < 9 or 13 < byte < 32 for byte in head):
        return "is no image: it is plain text"
    return f"is no image that can be read: {_said(error)}"


def _said(error: Exception) -> str:
    """Return what Pillow said, without the address of the file object that it names."""
    text = str(error).split(" <")[0].strip().rstrip(".") or type(error).__name__
    return f"{text}. It may be damaged; fetch it again"
