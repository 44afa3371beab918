"""Decoded images that stay in memory, up to a number of bytes."""

from __future__ import annotations

import os
import threading
import weakref

import numpy as np

from chirpid.data.images.files import Pixels

_ABSENT, _UNDER_WAY = -1, -2


class ImageMemory:
    """Keeps images as they come until it is full, and never drops one for another.

    An epoch asks for every image once, so the image that was used last is the one that will not be
    needed for longest: dropping the one that was not used for longest, as usual caches do, finds
    less again the more a set exceeds the memory, and nothing at all in sequential order.

    Several threads may ask at once. What was kept before a fork is there after it; from then on
    each process keeps its own. A pickled copy starts empty.
    """

    def __init__(self, num_images: int, dtype: np.dtype[np.generic], max_bytes: int) -> None:
        self.num_images, self.dtype, self.max_bytes = num_images, dtype, max_bytes
        self._start_empty()

    def _start_empty(self) -> None:
        # Pages are taken when they are written to, not now.
        self._pixels = np.empty(self.max_bytes // self.dtype.itemsize, dtype=self.dtype)
        self._end = 0
        self._begin_N = np.full(self.num_images, _ABSENT, dtype=np.int64)
        self._shape_N = np.zeros((self.num_images, 3), dtype=np.int32)
        self.hits = self.misses = 0
        self._lock = threading.Lock()
        _MEMORIES.add(self)

    @property
    def num_bytes(self) -> int:
        """Bytes of the images that are kept."""
        return self._end * self.dtype.itemsize

    def get(self, index: int) -> Pixels | None:
        """Return image `index` [channels, height, width], which must not be written to."""
        begin = int(self._begin_N[index])
        with self._lock:
            self.hits += begin >= 0
            self.misses += begin < 0
        if begin < 0:
            return None
        channels, height, width = self._shape_N[index].tolist()
        flat: Pixels = self._pixels[begin : begin + channels * height * width]
        return flat.reshape(channels, height, width)

    def put(self, index: int, pixels: Pixels) -> None:
        """Keep image `index`, if there is room."""
        with self._lock:
            begin, end = self._end, self._end + pixels.size
            if end > len(self._pixels) or self._begin_N[index] != _ABSENT:
                return
            self._end, self._begin_N[index] = end, _UNDER_WAY
        self._pixels[begin:end].reshape(pixels.shape)[:] = pixels
        self._shape_N[index] = pixels.shape
        # Last: whoever sees where it begins finds all of it there.
        self._begin_N[index] = begin

    def __getstate__(self) -> dict[str, object]:
        return {
            "num_images": self.num_images, "dtype": self.dtype, "max_bytes": self.max_bytes,
        }  # fmt: skip

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._start_empty()

    def _renew_lock(self) -> None:
        self._lock = threading.Lock()


_MEMORIES: weakref.WeakSet[ImageMemory] = weakref.WeakSet()


def _renew_locks() -> None:
    """Unlock all: of the threads of the parent, none is there in a forked child to do so."""
    for memory in _MEMORIES:
        memory._renew_lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_locks)
