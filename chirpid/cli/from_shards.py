"""From settings to a set of shards: where it is, whether it fits the settings, what reads it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from chirpid import build
from chirpid.config.paths import cache_dir, user_path
from chirpid.config.schema import RootConfig
from chirpid.data.datasets import StreamingDataset
from chirpid.data.kept import RowSpec
from chirpid.data.modes import StoreOptions, kept_shards
from chirpid.data.sources.shards import ShardRows, ShardSet, open_shard_set, spec_of
from chirpid.errors import BudgetError, ConfigError
from chirpid.storage.caches import cache_folder, list_caches, reserve
from chirpid.storage.remote import Place, is_url, open_place
from chirpid.storage.remote_shards import RemoteShards
from chirpid.storage.shard_window import ShardFiles
from chirpid.storage.shards import shard_bytes
from chirpid.types import Keep, Mode, size_text

SHARD_SEGMENTS = "mode.shard_segments"
COPIES_FOR_A_PASS = 16
"""Shards that are kept on the disk while rows are copied out of them, once and in order."""


def place_of(config: RootConfig, address: str) -> Place:
    """Return the place of a folder, as the user sees it, or of a URL."""
    where = address if is_url(address) else str(user_path(address))
    return open_place(where, config.dataset.storage_options)


def open_set(config: RootConfig) -> ShardSet:
    """Return the set that `dataset.root` names.

    Raises:
        StorageError: there is none, or it cannot be read.
        ConfigError: it was made with other settings; names both.
    """
    assert config.dataset.root, "checked with the settings"
    found = open_shard_set(place_of(config, config.dataset.root))
    there, here = dict(found.settings), row_settings(config)
    if config.mode.name is not Mode.streaming:
        here[SHARD_SEGMENTS] = there[SHARD_SEGMENTS]  # other modes keep rows in their own way
    other = [name for name in there if there[name] != here.get(name)]
    if other:
        both = "; ".join(
            f"{n} is {_text(there[n])} there, {_text(here.get(n))} here" for n in other
        )
        take = " ".join(f"{name}={_text(there[name])}" for name in other)
        raise ConfigError(
            f"The shards at {found.place.where()} were made with other settings: {both}. Add "
            f"{take}, or write shards with yours."
        )
    return found


def row_settings(config: RootConfig) -> dict[str, Any]:
    """Return all settings that decide the rows and their order, by name."""
    frontend = build.frontend_settings(config)
    if config.mode.keep is Keep.waveform:  # the front end comes after them
        frontend = {"sample_rate_hz": frontend["sample_rate_hz"]}
    return {
        **{f"frontend.{name}": value for name, value in frontend.items()},
        **{f"segment.{name}": value for name, value in asdict(config.segment).items()},
        "mode.keep": config.mode.keep.value,
        "mode.dtype": build.store_dtype(config).value,
        SHARD_SEGMENTS: config.mode.shard_segments,
    }


def overrides_of(settings: dict[str, Any], defaults: RootConfig) -> list[str]:
    """Return the overrides that a training on a set needs beside its address."""
    usual = row_settings(defaults)
    return [f"{n}={_text(value)}" for n, value in settings.items() if value != usual.get(n)]


def rows_of(config: RootConfig, found: ShardSet) -> ShardRows:
    """Return what takes the rows of a set for the modes that keep them.

    Raises:
        ConfigError: another version of the program made them.
    """
    budget = int(config.mode.cache_gib * build.GIB)
    root = cache_dir(config.paths)
    rows = ShardRows(
        found,
        build.frontend_of(config),
        keep=config.mode.keep,
        dtype=build.store_dtype(config),
        files=lambda: _files(found, root, budget, COPIES_FOR_A_PASS, {}),
    )
    if rows.spec != spec_of(found):
        raise ConfigError(
            f"The shards at {found.place.where()} were written by chirpid "
            f"{found.index.about['chirpid']}, whose rows are {spec_of(found)}; here they would be "
            f"{rows.spec}. Write them again."
        )
    return rows


def check_budgets(found: ShardSet, options: StoreOptions) -> None:
    """Refuse a stream whose window does not fit, before anything is brought.

    Raises:
        BudgetError: it is over `mode.cache_gib`, with what it needs.
    """
    if found.local_files() is None:
        _copies_bytes(found, options.cache_root, options.cache_bytes, 2 * _kept(found, options))


def stream(
    found: ShardSet, spec: RowSpec, options: StoreOptions, about: dict[str, object]
) -> StreamingDataset:
    """Return the dataset that reads a set where it is.

    Raises:
        BudgetError: its window does not fit on the disk.
    """
    kept = _kept(found, options)
    # The window, and as much again that comes while it is in use.
    files = _files(found, options.cache_root, options.cache_bytes, 2 * kept, about)
    return StreamingDataset(spec, files, found.layout, kept)


def _kept(found: ShardSet, options: StoreOptions) -> int:
    return kept_shards(found.layout, options)


def _files(
    found: ShardSet, root: Path, cache_bytes: int, num_shards: int, about: dict[str, object]
) -> ShardFiles:
    local = found.local_files()
    if local is not None:
        return local
    need = _copies_bytes(found, root, cache_bytes, num_shards)
    folder = _folder(found, root)
    about = {"dataset": f"copies of {found.place.where()}"} | about
    use, _ = reserve(root, folder, need_bytes=need, budget_bytes=cache_bytes, about=about)
    try:
        return RemoteShards(
            found.place, found.layout, found.index.checksums, folder=folder, budget_bytes=need
        )
    finally:
        use.close()


def _folder(found: ShardSet, root: Path) -> Path:
    return cache_folder(root, "shards", f"copies-{found.index.key}")


def _copies_bytes(found: ShardSet, root: Path, cache_bytes: int, num_shards: int) -> int:
    """Return what copies of shards may take: all of them, or what other caches leave.

    Raises:
        BudgetError: not even `num_shards` of them fit.
    """
    layout = found.layout
    size = shard_bytes(layout, 0)
    whole = sum(shard_bytes(layout, s) for s in range(layout.num_chunks))
    least = min(num_shards * size, whole)
    if least > cache_bytes:
        raise BudgetError(
            f"Streaming from {found.place.where()} keeps {num_shards} shards on the disk, "
            f"{size_text(least)}; mode.cache_gib allows {size_text(cache_bytes)}. Raise it, or "
            "lower mode.window_segments."
        )
    if whole <= cache_bytes:
        return whole
    own = _folder(found, root)
    others = sum(entry.claimed_bytes for entry in list_caches(root) if entry.path != own)
    return max(least, cache_bytes - others)


def _text(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
