"""Batches of images: one float tensor [B, C, H, W] in [0, 1], normalised if wanted.

Letters: B batch, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chirpid.data.collate.default import collate_fields, some, told_kind
from chirpid.data.collate.fields import IMAGE_KEYS, field_path, is_array, is_image_file
from chirpid.data.collate.padding import one_of, tensors_of
from chirpid.data.collate.tree import Field, Path, path_text
from chirpid.errors import ConfigError, DataError

Moments = tuple[tuple[float, ...], tuple[float, ...]]

NORMALISATIONS: dict[str, Moments] = {
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}
"""Mean and standard deviation of each channel of images in [0, 1].

Source: imagenet, as torchvision's trained models want it (its documentation of the weights);
cifar10, over all pixels of the 50,000 training images. The (0.2023, 0.1994, 0.2010) that many
programs have for the latter is the mean of the deviations within each image, which is less.
"""
_FULL = {torch.uint8: 255.0, torch.uint16: 65535.0, torch.bool: 1.0}
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
_PLAIN = ("L", "RGB", "RGBA")
_SLACK = 1e-3
"""How far resampled floating-point images may leave [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VisionCollator:
    """Makes images one float32 tensor [B, C, H, W] in their place; the rest is stacked."""

    field: Field | None = None
    """Where the image is; None to look for it."""
    layout: str = "auto"
    """Which axis of an image of three holds the channels: "chw", "hwc", or "auto", which takes
    the one of length 1, 3 or 4 and refuses images where both are."""
    channels: int | None = None
    """Wanted channels: 1, 3 or 4. Grey is repeated, alpha is dropped, images of Pillow are
    converted by it. None leaves them as they are."""
    normalise: str | Sequence[Sequence[float]] | None = None
    """A name of `NORMALISATIONS`, or mean and standard deviation of each channel."""
    scale: float | None = None
    """What images are divided by. None: 255 for uint8, 65535 for uint16, and floating-point
    images must be in [0, 1]; with a scale of your own nothing is checked."""

    def __post_init__(self) -> None:
        one_of("layout", self.layout, ("auto", "chw", "hwc"))
        if self.channels not in (None, *_MODES):
            raise ConfigError(f"channels={self.channels} is none of 1, 3, 4. None leaves them be.")
        if self.scale is not None and not self.scale > 0:
            raise ConfigError(f"scale={self.scale} must be above 0.")
        _ = self.moments

    @property
    def moments(self) -> Moments | None:
        """Mean and standard deviation of each channel; None if nothing is normalised.

        Raises:
            ConfigError: no such name, or not two equally long rows with deviations above 0.
        """
        if self.normalise is None:
            return None
        if isinstance(self.normalise, str):
            one_of("normalise", self.normalise, tuple(NORMALISATIONS))
            return NORMALISATIONS[self.normalise]
        try:
            mean, std = (tuple(float(each) for each in row) for row in self.normalise)
        except (TypeError, ValueError):
            mean, std = (), ()
        if not mean or len(mean) != len(std) or not all(each > 0 for each in std):
            raise ConfigError(
                f"normalise={self.normalise} is not (mean, std), one number a channel each, std "
                f"above 0. There are names for: {', '.join(NORMALISATIONS)}."
            )
        return mean, std

    def __call__(self, samples: Sequence[Any]) -> Any:
        """Return the samples as one batch, with images as float32 [B, C, H, W].

        Raises:
            DataError: no samples, no image or several, sizes or channels that differ, channels
                that cannot be told from rows, or values outside of what their type says.
        """
        some(samples)
        here = field_path(samples[0], self.field, keys=IMAGE_KEYS, fits=_is_image, what="image")
        return collate_fields(samples, {here: self._images})

    def _images(self, path: Path, values: Sequence[Any]) -> Tensor:
        views = [self._view(path, value, n) for n, value in enumerate(values)]
        _check_sizes(path, views)
        return self._normalised(path, self._scaled(path, _stacked(views)))

    def _view(self, path: Path, value: Any, n: int) -> Tensor:
        """Return a view [C, H, W] of an image, with the wanted channels."""
        is_file = is_image_file(value)
        (array,) = tensors_of(path, [self._read(path, value) if is_file else value])
        if array.dim() not in (2, 3):
            raise DataError(f"{_told(path, array, n)}. An image is [H, W], [C, H, W] or [H, W, C].")
        if array.dim() == 2:
            image = array[None]
        # A reshape would keep the shape right and scramble the picture.
        elif is_file or self._is_last(path, array, n):
            image = array.permute(2, 0, 1)
        else:
            image = array
        return image if self.channels is None else self._with_channels(path, image, n)

    def _read(self, path: Path, image: Any) -> Any:
        """Return the pixels of an image of Pillow, uint8 [H, W] or [H, W, C]."""
        if self.channels is not None:
            image = image.convert(_MODES[self.channels])
        elif image.mode not in _PLAIN:
            raise DataError(
                f"{path_text(path)} is an image of mode {image.mode}, whose numbers are not grey "
                "or red, green and blue. Set channels=3 or convert it in the dataset."
            )
        return np.array(image)

    def _is_last(self, path: Path, array: Tensor, n: int) -> bool:
        if self.layout != "auto":
            return self.layout == "hwc"
        first, last = (array.shape[axis] in _MODES for axis in (0, 2))
        if first == last:
            raise DataError(
                f"{_told(path, array, n)}: channels may be the first axis or the last. Set "
                'layout="chw" or layout="hwc".'
            )
        return last

    def _with_channels(self, path: Path, image: Tensor, n: int) -> Tensor:
        wanted, found = self.channels, image.shape[0]
        if found == wanted:
            return image
        if (found, wanted) == (1, 3):
            return image.expand(3, -1, -1)
        if (found, wanted) == (4, 3):
            return image[:3]
        raise DataError(
            f"{path_text(path)} has {found} channels in sample {n} of the batch, and channels="
            f"{wanted} cannot be made of them. Convert it in the dataset."
        )

    def _scaled(self, path: Path, batch: Tensor) -> Tensor:
        """Return a batch as float32, contiguous, divided by its full scale."""
        full = self.scale or _FULL.get(batch.dtype)
        if full is None and not batch.is_floating_point():
            raise DataError(
                f"{path_text(path)} is of {batch.dtype}, which does not say where white is. Set "
                "scale to that value, or convert to uint8."
            )
        scaled = batch.to(torch.float32, memory_format=torch.contiguous_format)
        if full is not None:
            # In place: stacking made the memory, so that it is no sample's own.
            return scaled if full == 1 else scaled.div_(full)
        low, high = (float(each) for each in scaled.aminmax()) if scaled.numel() else (0.0, 1.0)
        if not (low >= -_SLACK and high <= 1 + _SLACK):
            raise DataError(
                f"{path_text(path)} is floating point from {low:.4g} to {high:.4g}, and images are "
                "in [0, 1]. Set scale=255 if white is 255, scale=1 if it is as you want it."
            )
        return scaled

    def _normalised(self, path: Path, batch: Tensor) -> Tensor:
        moments = self.moments
        if moments is None:
            return batch
        mean, std = (torch.tensor(each, dtype=torch.float32) for each in moments)
        if len(mean) != batch.shape[1]:
            raise DataError(
                f"{path_text(path)} has {batch.shape[1]} channels, normalise={self.normalise!r} "
                f"has {len(mean)}. Set channels={len(mean)}, or mean and std of your own."
            )
        mean, std = (each.view(-1, 1, 1).to(batch.device) for each in (mean, std))
        return batch.sub_(mean).div_(std)


def _told(path: Path, array: Tensor, n: int) -> str:
    return f"{path_text(path)} is {told_kind(array)} in sample {n} of the batch"


def _is_image(value: object) -> bool:
    return is_image_file(value) or (is_array(value) and value.ndim in (2, 3))  # type: ignore[attr-defined]


def _stacked(views: list[Tensor]) -> Tensor:
    """Return images [C, H, W] as one tensor [B, C, H, W], contiguous."""
    first = views[0]
    is_last = all(view.stride(0) == 1 < view.shape[0] for view in views)
    if not (is_last and first.is_cpu and first.dtype != torch.bfloat16):
        return torch.stack(views)
    # Channels that lie last are brought to the front once for the batch, and by numpy: torch needs
    # four times as long for large images.
    batch = torch.stack([view.permute(1, 2, 0) for view in views]).permute(0, 3, 1, 2)
    return torch.from_numpy(np.ascontiguousarray(batch.numpy()))


def _check_sizes(path: Path, views: list[Tensor]) -> None:
    for n, view in enumerate(views):
        if view.shape[1:] != views[0].shape[1:]:
            (height, width), (other_height, other_width) = views[0].shape[1:], view.shape[1:]
            raise DataError(
                f"{path_text(path)} is {height}×{width} in sample 0 of the batch and "
                f"{other_height}×{other_width} in sample {n} (rows × columns). Resize or crop in "
                'the dataset, or take collate="pad" with axes for both.'
            )
        if view.shape[0] != views[0].shape[0] or view.dtype != views[0].dtype:
            raise DataError(
                f"{path_text(path)} has {views[0].shape[0]} channels of {views[0].dtype} in sample "
                f"0 of the batch and {view.shape[0]} of {view.dtype} in sample {n}. Set channels=3 "
                "or convert them in the dataset."
            )
