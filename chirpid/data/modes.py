"""Open a dataset in one of the four modes, building its store first where the mode has one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from chirpid.data.datasets import (
    LazyDataset,
    SegmentDataset,
    StreamingDataset,
    load_eager,
    open_cached,
)
from chirpid.data.rows import RowMaker
from chirpid.data.stores import build_store
from chirpid.errors import BudgetError
from chirpid.storage.caches import cache_folder, check_size, reserve
from chirpid.storage.layout import RowLayout
from chirpid.storage.parallel import Progress
from chirpid.storage.rowstore import is_complete
from chirpid.types import Keep, Mode, ReadWay, size_text

CHUNK_ROWS = 64
ROW_VERSION = 2
"""Raised whenever the same settings would give other rows."""


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """Where stores lie and what they may take."""

    cache_root: Path
    cache_bytes: int
    """Disk budget of all caches."""
    ram_bytes: int
    """Budget of rows kept in RAM."""
    num_threads: int
    shard_segments: int
    window_segments: int
    share: bool = False
    """Worker processes that are not forked will use an eager dataset."""
    read: ReadWay = ReadWay.auto
    """How rows of mode=cached are read."""
    free_bytes: int | None = None
    """RAM that pages of a cache can take; None for enough."""


def content_key(maker: RowMaker, frontend_settings: dict[str, object]) -> str:
    """Return a hash of all that is asked of the rows: files, windows, front end, number type."""
    table = maker.segments
    digest = hashlib.blake2b(digest_size=10)
    settings = {
        "version": ROW_VERSION,
        "spec": asdict(maker.spec),
        "rate": maker.frontend.sample_rate_hz,
        "samples": maker.num_samples,
        # Waveforms are kept as they are before the front end: another one needs no other rows.
        "frontend": frontend_settings if maker.spec.keep is Keep.spectrogram else None,
    }
    digest.update(json.dumps(settings, sort_keys=True, default=str).encode())
    for recording in range(len(table.recordings)):
        digest.update(table.contents[recording].encode())
    for array in (table.channel_R, table.recording_N, table.start_N):
        digest.update(array.tobytes())
    return digest.hexdigest()


def store_key(maker: RowMaker, frontend_settings: dict[str, object]) -> str:
    """Return a hash of all that decides the bits of the rows.

    That is what they are asked to be, and who makes them: another implementation rounds the last
    bits in another way, and a store holds rows of one alone.
    """
    digest = hashlib.blake2b(digest_size=10)
    digest.update(f"{content_key(maker, frontend_settings)} {maker.implementation}".encode())
    return digest.hexdigest()


def open_dataset(
    mode: Mode,
    maker: RowMaker,
    *,
    key: str,
    about: dict[str, object],
    options: StoreOptions,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> SegmentDataset:
    """Return the dataset of all segments in the given mode.

    Raises:
        BudgetError: the mode needs more RAM or disk than it may take.
        StorageError: a store cannot be written.
    """
    if mode is Mode.lazy:
        return LazyDataset(maker)
    check_budgets(mode, maker, options)
    if mode is Mode.eager:
        return _open_eager(maker, key, options, progress, say)
    layout = _layout(mode, maker, options)
    folder = store_folder(options.cache_root, mode, key, layout.chunk_rows)
    # Held from before the build: a cache in the making is not to be evicted.
    use, removed = reserve(
        options.cache_root,
        folder,
        need_bytes=layout.num_bytes,
        budget_bytes=options.cache_bytes,
        about=about,
    )
    try:
        for entry in removed:
            if say:
                say(f"removed the least recently used cache {entry.path.name}, "
                    f"{size_text(entry.num_bytes)}, to keep mode.cache_gib")  # fmt: skip
        build_store(
            mode,
            maker,
            folder,
            layout,
            about=about,
            budget_bytes=options.cache_bytes,
            num_threads=options.num_threads,
            progress=progress,
            say=say,
        )
        if mode is Mode.cached:
            return open_cached(
                maker.spec,
                folder,
                layout,
                read=options.read,
                free_bytes=options.free_bytes,
                say=say,
            )
        return StreamingDataset(maker.spec, folder, layout, kept_shards(layout, options))
    finally:
        use.close()


def _open_eager(
    maker: RowMaker,
    key: str,
    options: StoreOptions,
    progress: Progress | None,
    say: Callable[[str], None] | None,
) -> SegmentDataset:
    """Return all rows in RAM, from a cache of the same rows where there is a whole one."""
    store = whole_cache(maker, key, options)
    if store is not None and say:
        say(f"mode=eager reads its rows from the cache {store[0].name}: nothing is decoded")
    return load_eager(
        maker,
        share=options.share,
        num_threads=options.num_threads,
        progress=progress,
        store=store,
    )


def whole_cache(maker: RowMaker, key: str, options: StoreOptions) -> tuple[Path, RowLayout] | None:
    """Return the cache of these rows if it is whole, else None. Nothing is built."""
    layout = _layout(Mode.cached, maker, options)
    folder = store_folder(options.cache_root, Mode.cached, key, layout.chunk_rows)
    return (folder, layout) if is_complete(folder, layout) else None


def check_budgets(mode: Mode, maker: RowMaker, options: StoreOptions) -> None:
    """Refuse a mode that needs more than it may take, before anything is written or decoded.

    Raises:
        BudgetError: with what it needs, what it may take, and the nearest alternative.
    """
    if mode is Mode.eager:
        _check_ram(maker, options.ram_bytes)
    elif mode is not Mode.lazy:
        layout = _layout(mode, maker, options)
        check_size(layout.num_bytes, options.cache_bytes)
        if mode is Mode.streaming:
            _check_stream(kept_shards(layout, options), layout, options.ram_bytes)


def _layout(mode: Mode, maker: RowMaker, options: StoreOptions) -> RowLayout:
    return RowLayout(
        num_rows=len(maker.segments),
        shape=maker.spec.shape,
        dtype=maker.spec.dtype.value,
        chunk_rows=options.shard_segments if mode is Mode.streaming else CHUNK_ROWS,
    )


def kept_shards(layout: RowLayout, options: StoreOptions) -> int:
    """Return the shards that the shuffle window spans."""
    return min(-(-options.window_segments // layout.chunk_rows) + 1, layout.num_chunks)


def store_folder(root: Path, mode: Mode, key: str, rows: int) -> Path:
    """Return the folder of a store; shards of another length are another store."""
    if mode is Mode.streaming:
        return cache_folder(root, "shards", f"{key}-{rows}")
    return cache_folder(root, "rows", key)


def _check_ram(maker: RowMaker, budget: int) -> None:
    need = maker.spec.row_bytes * len(maker.segments)
    if need > budget:
        raise BudgetError(
            f"mode=eager needs {size_text(need)}, the memory budget allows "
            f"{size_text(budget)}. Use mode=cached, or raise memory.fraction or memory.budget_gib."
        )


def _check_stream(kept: int, layout: RowLayout, budget: int) -> None:
    need = kept * layout.chunk_rows * layout.row_bytes
    if need > budget:
        raise BudgetError(
            f"mode=streaming keeps {kept} shards, {size_text(need)}; the memory budget allows "
            f"{size_text(budget)}. Lower mode.window_segments or mode.shard_segments."
        )
