"""Build the store of a mode, and tell what that takes and what it costs in accuracy."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from chirpid.data.rounding import Rounding
from chirpid.data.rows import RowMaker
from chirpid.storage import rowstore, shards
from chirpid.storage.caches import list_caches
from chirpid.storage.layout import RowLayout
from chirpid.storage.parallel import Progress
from chirpid.types import Keep, Mode, size_text


def build_store(
    mode: Mode,
    maker: RowMaker,
    folder: Path,
    layout: RowLayout,
    *,
    about: dict[str, object],
    budget_bytes: int,
    num_threads: int,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Make sure that `folder` holds the whole store of `mode`, cached or streaming.

    Tells `say` of the size before, and of the time and the measured error of the number type
    after; the latter is kept beside `about` in the store.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    kind = shards if mode is Mode.streaming else rowstore
    if kind.is_complete(folder, layout):
        return
    if say:
        say(_plan_text(folder, layout, budget_bytes))
    work = _Work(maker, about)
    write = shards.write_shards if mode is Mode.streaming else rowstore.build
    write(
        folder,
        layout,
        work.make,
        about=about,
        num_threads=num_threads,
        progress=progress,
        say=say,
    )
    if say and work.num_rows:
        say(work.text())


def _plan_text(folder: Path, layout: RowLayout, budget_bytes: int) -> str:
    root = folder.parent.parent
    others = sum(entry.claimed_bytes for entry in list_caches(root) if entry.path != folder)
    beside = f" beside {size_text(others)} of other caches" if others else ""
    return (
        f"building the cache {folder.name}: {size_text(layout.num_bytes)}{beside}; "
        f"mode.cache_gib allows {size_text(budget_bytes)}"
    )


class _Work:
    """Makes the rows of one build and measures them."""

    def __init__(self, maker: RowMaker, about: dict[str, object]) -> None:
        self.maker, self.about, self.num_rows = maker, about, 0
        self.rounding = Rounding(maker.spec, _unit(maker))
        self._lock, self._begin = threading.Lock(), 0.0

    def make(self, first: int, end: int, kept: Tensor) -> None:
        """Fill `kept` with the rows first..end-1."""
        self._begin = self._begin or time.perf_counter()  # not while another process was building
        self.maker.make_range(first, end, kept, watch=self.rounding.watch)
        with self._lock:
            self.num_rows += end - first
            self.rounding.note(self.about)

    def text(self) -> str:
        """Return what was done and what it costs, in one line."""
        seconds = max(time.perf_counter() - self._begin, 1e-9)
        error = self.rounding.result()
        cost = f"; {error.dtype}: {error.text()}" if error else ""
        return (
            f"built {self.num_rows} segments in {seconds:.1f} s "
            f"({self.num_rows / seconds:.0f} per second){cost}"
        )


def _unit(maker: RowMaker) -> str:
    if maker.spec.keep is Keep.waveform:
        return "of full scale"
    return "dB" if maker.frontend.kind == "logmel" else ""
