"""Images in files as a dataset of (image, label)."""

from __future__ import annotations

import hashlib
import operator
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import PIL
import torch
from torch import Tensor

from chirpid.data.general.bad_items import BadItem, notes_on, on_bad_of, stop_or_note
from chirpid.data.general.class_numbers import number_labels
from chirpid.data.general.columns import Columns, Layout, Leaf
from chirpid.data.general.trees import LEAF, skeleton_of
from chirpid.data.images.check import CHECKS, bad_items, look_at
from chirpid.data.images.files import Pixels
from chirpid.data.images.listing import (
    ImageList,
    from_folder,
    from_paths,
    from_table,
    number_groups,
)
from chirpid.data.images.memory import ImageMemory
from chirpid.data.images.rule import Normalise, PixelRule, scale_of
from chirpid.data.segments import TextTable
from chirpid.data.tensors.modes import in_mode
from chirpid.errors import ConfigError, DataError
from chirpid.types import IntArray, OnBad

IMAGES_VERSION = 1
"""Raise it when the same files come out as other numbers; caches are then made anew."""


class ImageDataset:
    """Images of a folder, a table or a list: (image, label), or the image if nothing labels it.

    An image is a tensor [channels, height, width]: uint8, or float32 where it is normalised or
    asked for; row 0 is its top. A label is a class number. With `size`, and without `transform`,
    whole batches are decoded where they are to lie (`read_into`), by several threads at once.

    Args:
        root: the folder: `root/<class>/**/<image>`, or images without classes; with `table` or
            `paths`, what relative names start from.
        table: a data frame or a CSV file with columns filename, and label and group if wanted.
        paths, labels, groups: images one by one.
        classes: names in the order of their numbers. Give a validation set those of the training.
        size: height and width. None keeps those of each image.
        channels, resize, fit, bits: see `PixelRule`.
        normalise: "imagenet", "cifar10" or (mean, std), of pixels from 0 to 1.
        dtype: "uint8", or "float32" from 0 to 1; None takes float32 if `normalise` is given.
        cache_bytes: keep decoded images in memory up to this, in each process.
        check: what is looked at before: every "header" (and all of an image that seems cut off),
            every image in "full", or "none".
        on_bad: "stop" names all images that cannot be used; "skip" leaves them out and notes it.
        transform: a function of the image tensor, which may then be anything.
    Raises:
        DatasetNotFoundError: nothing is there.
        DataError: images cannot be used and `on_bad` is stop; labels and images do not match.
        ConfigError: a setting has a value that it does not know.
    """

    layout: Layout
    """There only if images have one size and no transform: else this is no `BatchReader`."""

    def __init__(
        self,
        root: str | Path | None = None,
        *,
        table: pd.DataFrame | str | Path | None = None,
        paths: Sequence[str | os.PathLike[str]] | None = None,
        labels: Sequence[Any] | None = None,
        groups: Sequence[str] | None = None,
        classes: Sequence[str] | None = None,
        size: tuple[int, int] | None = None,
        channels: str = "RGB",
        resize: str | None = "bilinear",
        fit: str = "stretch",
        bits: int = 8,
        normalise: Normalise = None,
        dtype: str | None = None,
        cache_bytes: int = 0,
        check: str = "header",
        on_bad: OnBad | str = OnBad.stop,
        transform: Callable[[Tensor], Any] | None = None,
    ) -> None:
        self.rule = PixelRule(
            channels=channels,
            size=size,
            resize=resize,
            fit=fit,
            bits=bits,
        )
        self._set_scale(normalise, dtype)
        self.transform = transform
        on_bad = on_bad_of(on_bad)
        if check not in CHECKS:
            raise ConfigError(f"check={check!r} is unknown. Choose {', '.join(CHECKS)}.")
        listed = _list(root, table, paths, labels, groups)
        self._take(self._usable(listed, check, on_bad), classes)
        self.thread_safe = transform is None  # Pillow decodes without the interpreter's lock
        self._set_layout()
        kept_bytes = min(cache_bytes, self._num_bytes() or cache_bytes)
        self.memory = (
            ImageMemory(len(self), self.rule.dtype, kept_bytes) if cache_bytes > 0 else None
        )

    def _set_scale(self, normalise: Normalise, dtype: str | None) -> None:
        dtype = dtype or ("uint8" if normalise is None else "float32")
        if dtype not in ("uint8", "float32"):
            raise ConfigError(f"dtype={dtype!r} is unknown. Choose uint8, float32.")
        if dtype == "uint8" and (normalise is not None or self.rule.bits == 16):
            what = "bits=16" if normalise is None else "normalise"
            raise ConfigError(f"{what} does not fit into dtype='uint8'. Set dtype='float32'.")
        self.normalise = normalise
        self.dtype = torch.uint8 if dtype == "uint8" else torch.float32
        self._scale = scale_of(normalise, self.rule) if dtype == "float32" else None

    def _usable(self, listed: ImageList, check: str, on_bad: OnBad) -> ImageList:
        """Return the images that can be used; what is wrong or odd goes to the notes."""
        num_all = len(listed.names) + len(listed.bad)
        bad, notes = list(listed.bad), list(listed.notes)
        if check != "none":
            looked = look_at(listed.root, listed.names, self.rule, full=check == "full")
            bad += bad_items(looked, listed.names)
            notes += notes_on(looked.oddities, "image")
            listed = listed.without(set(looked.bad)) if looked.bad else listed
        self.notes = [*stop_or_note(bad, num_all, "image", on_bad), *notes]
        self.bad: list[BadItem] = bad
        return listed

    def _take(self, listed: ImageList, classes: Sequence[str] | None) -> None:
        self.root = listed.root
        self.names = TextTable(listed.names)  # one array: a list of strings grows forked workers
        self.labels: IntArray | None = None
        self.classes: tuple[str, ...] = ()
        if listed.labels is not None:
            numbered = number_labels(listed.labels, classes or listed.classes)
            self.labels, self.classes, notes = numbered
            self.notes += notes
        self.groups, self.group_names = number_groups(listed.groups)

    def _set_layout(self) -> None:
        shape = self.rule.shape
        if shape is None or self.transform is not None:
            return
        image = Leaf(self.dtype, shape)
        labelled = self.labels is not None
        self.layout = Layout(
            (image, Leaf(torch.int64)) if labelled else (image,),
            skeleton_of((0, 0)) if labelled else LEAF,
        )

    def _num_bytes(self) -> int | None:
        shape = self.rule.shape
        return None if shape is None else len(self) * int(np.prod(shape)) * self.rule.dtype.itemsize

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Any:
        index = self._within(index)
        pixels = self._pixels(index)
        image = torch.empty(pixels.shape, dtype=self.dtype)
        self._write(pixels, image.numpy())
        made = image if self.transform is None else self.transform(image)
        return made if self.labels is None else (made, int(self.labels[index]))

    def read_into(self, ids: IntArray, out: Columns) -> None:
        """Write images `ids` into the rows of `out`, and their labels."""
        images = out.tensors[0].numpy()
        for row, index in enumerate(ids.tolist()):
            self._write(self._pixels(self._within(index)), images[row])
        if self.labels is not None:
            out.tensors[1].copy_(torch.from_numpy(self.labels[ids]))

    def path(self, index: int) -> str:
        """Return where image `index` lies."""
        return os.path.join(self.root, self.names[self._within(index)])

    def fingerprint(self) -> str:
        """Return a digest of the files' names, sizes and times of change, labels and settings.

        Raises:
            ConfigError: there is a transform, of which nobody can tell whether it changed.
        """
        if self.transform is not None:
            raise ConfigError(
                "A dataset with a transform has no fingerprint: nobody can tell whether the "
                "function changed. Cache without it, or give a key of your own."
            )
        about = (IMAGES_VERSION, PIL.__version__, self.rule, self.normalise, str(self.dtype))
        digest = hashlib.sha256(repr((about, self.classes)).encode())
        for index in range(len(self)):
            found = _stat(self.path(index))
            digest.update(f"{self.names[index]}\0{found.st_size} {found.st_mtime_ns}\n".encode())
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        return digest.hexdigest()

    def in_mode(self, mode: str, **options: Any) -> Any:
        """Return the samples in another mode, decoded once: see `modes.in_mode`."""
        return in_mode(self, mode, **options)

    def _pixels(self, index: int) -> Pixels:
        if self.memory is None:
            return self.rule.read(self.path(index))
        kept = self.memory.get(index)
        if kept is not None:
            return kept
        pixels = self.rule.read(self.path(index))
        self.memory.put(index, pixels)
        return pixels

    def _write(self, pixels: Pixels, out: Any) -> None:
        if self._scale is None:
            out[...] = pixels
        else:
            self._scale.write(pixels, out)

    def _within(self, index: int) -> int:
        place = operator.index(index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"There is no image {place}: the dataset has {len(self)}.")
        return place % len(self)


def _list(
    root: str | Path | None,
    table: pd.DataFrame | str | Path | None,
    paths: Sequence[str | os.PathLike[str]] | None,
    labels: Sequence[Any] | None,
    groups: Sequence[str] | None,
) -> ImageList:
    place = None if root is None else Path(root).expanduser()
    if table is not None and paths is not None:
        raise ConfigError("Give table or paths, not both.")
    if paths is None and (labels is not None or groups is not None):
        raise ConfigError("labels and groups belong to paths. A table has columns for them.")
    if paths is not None:
        return from_paths(paths, labels, groups, place)
    if table is not None:
        return from_table(table, place)
    if place is None:
        raise ConfigError("Give root, the folder of the images, or a table, or paths.")
    return from_folder(place.absolute())


def _stat(path: str) -> os.stat_result:
    try:
        return os.stat(path)
    except OSError as error:
        raise DataError(f"{path} cannot be looked at: {error.strerror or error}.") from error
