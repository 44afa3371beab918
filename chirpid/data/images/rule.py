"""How an image becomes numbers: channels, size and scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from chirpid.data.collate.vision import NORMALISATIONS
from chirpid.data.images.files import (
    Pixels,
    UnusableImageError,
    is_deep,
    open_file,
    open_image,
    read_pixels,
    to_gray_or_colour,
)
from chirpid.errors import ConfigError

FILTERS = {filter.name.lower(): filter for filter in Image.Resampling}
FITS = ("stretch", "crop", "pad")
NUM_CHANNELS = {"L": 1, "RGB": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelRule:
    """What is made of an image file.

    Raises:
        ConfigError: a setting has a value that it does not know.
    """

    channels: str = "RGB"
    """"RGB", or "L" for gray."""
    size: tuple[int, int] | None = None
    """Height and width; None keeps those of each image."""
    resize: str | None = "bilinear"
    """Pillow's filter (all but "nearest" average when they shrink); None refuses other sizes."""
    fit: str = "stretch"
    """What happens to another shape: "stretch" it, "crop" its middle, or "pad" it with black."""
    bits: int = 8
    """16 keeps gray levels of 16 bits; those of 8 are spread over the same range."""

    def __post_init__(self) -> None:
        _choose("channels", self.channels, NUM_CHANNELS)
        _choose("fit", self.fit, FITS)
        _choose("bits", self.bits, (8, 16))
        if self.resize is not None:
            _choose("resize", self.resize, FILTERS)
        if self.bits == 16 and self.channels != "L":
            raise ConfigError("bits=16 is for gray levels. Set channels='L'.")
        if self.size is not None and not _is_size(self.size):
            raise ConfigError(f"size={self.size!r} is not allowed: it takes (height, width).")

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the pixels."""
        return np.dtype(np.uint8 if self.bits == 8 else np.uint16)

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """Channels, height, width, if all images come out in one."""
        return None if self.size is None else (NUM_CHANNELS[self.channels], *self.size)

    def why_no_size(self, height: int, width: int) -> str | None:
        """Return why an image of this size cannot be used, if so."""
        if self.size is None or self.resize is not None or (height, width) == self.size:
            return None
        return (
            f"is {height} high and {width} wide, not size={self.size}, and resize=None changes no "
            "size"
        )

    def read(self, path: str) -> Pixels:
        """Return the pixels of an image file [channels, height, width].

        Row 0 is the top of the image, column 0 its left.

        Raises:
            UnusableImageError: the file is no image, damaged, or of another size.
        """
        with open_file(path) as file:
            image = read_pixels(path, open_image(path, file))
            reason = self.why_no_size(image.height, image.width)
            if reason:
                raise UnusableImageError(path, reason)
            if self.bits == 16:
                return self._deep(path, image)
            pixels = np.asarray(self._fitted(to_gray_or_colour(path, image, self.channels)))
            return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)

    def _deep(self, path: str, image: Image.Image) -> Pixels:
        if is_deep(image):
            levels = np.asarray(image).astype(np.float32)
        else:
            levels = np.asarray(to_gray_or_colour(path, image, "L")).astype(np.float32) * 257
        fitted = np.asarray(self._fitted(Image.fromarray(levels)))
        pixels: npt.NDArray[np.uint16] = fitted.round().clip(0, 65535).astype(np.uint16)
        return pixels[None]

    def _fitted(self, image: Image.Image) -> Image.Image:
        if self.size is None or self.resize is None or (image.height, image.width) == self.size:
            return image
        height, width = self.size
        method = FILTERS[self.resize]
        if self.fit == "crop":
            return ImageOps.fit(image, (width, height), method)
        if self.fit == "pad":
            return ImageOps.pad(image, (width, height), method)
        return image.resize((width, height), method)


@dataclass(frozen=True, slots=True, eq=False)
class Scale:
    """Pixels to float32: times `factor_C`, plus `shift_C`."""

    factor_C: npt.NDArray[np.float32]
    shift_C: npt.NDArray[np.float32]

    def write(self, pixels: Pixels, out: npt.NDArray[np.float32]) -> None:
        """Write the scaled pixels [channels, height, width] into `out`."""
        np.multiply(pixels, self.factor_C[:, None, None], out=out)
        if self.shift_C.any():
            np.add(out, self.shift_C[:, None, None], out=out)


Normalise = str | tuple[float | Sequence[float], float | Sequence[float]] | None


def scale_of(normalise: Normalise, rule: PixelRule) -> Scale:
    """Return the scale to (pixel - mean) / std, of pixels from 0 to 1.

    Args:
        normalise: "imagenet", "cifar10", (mean, std) as numbers or one a channel, or None for
            pixels from 0 to 1.
    Raises:
        ConfigError: an unknown name, another number of channels, or a std that is not above 0.
    """
    if isinstance(normalise, str):
        _choose("normalise", normalise, NORMALISATIONS)
        normalise = NORMALISATIONS[normalise]
    mean, std = normalise if normalise is not None else (0.0, 1.0)
    num_channels = NUM_CHANNELS[rule.channels]
    mean_C, std_C = (_per_channel(values, num_channels) for values in (mean, std))
    if not (std_C > 0).all():
        raise ConfigError(f"normalise has a std of {std}: it must be above 0.")
    white = 2**rule.bits - 1
    return Scale((1 / (white * std_C)).astype(np.float32), (-mean_C / std_C).astype(np.float32))


def _per_channel(values: float | Sequence[float], num_channels: int) -> npt.NDArray[np.float64]:
    given = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if given.shape not in ((1,), (num_channels,)):
        raise ConfigError(
            f"normalise has {given.size} numbers for {num_channels} channels. Give (mean, std), "
            "one number each or one a channel."
        )
    return np.broadcast_to(given, num_channels)


def _is_size(size: object) -> bool:
    if not isinstance(size, tuple) or len(size) != 2:
        return False
    return all(isinstance(number, int) and number > 0 for number in size)


def _choose(setting: str, value: object, known: Any) -> None:
    if value not in known:
        choices = ", ".join(map(str, cast("Sequence[object]", known)))
        raise ConfigError(f"{setting}={value!r} is unknown. Choose {choices}.")
