"""From settings to a set of shards: where it is, whether it fits the settings, what reads it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
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


@dataclass(frozen=True, slots=True)
class Room:
    """What copies of the shards of a set may take on the disk."""

    root: Path
    cache_bytes: int
    """What all caches may take."""
    own_bytes: int
    """The part of it that is for this set."""
    beside: frozenset[Path]
    """Folders of the sets that the other parts are for, and its own."""


def rooms_of(
    sets: Sequence[ShardSet], root: Path, cache_bytes: int, shares: Sequence[float]
) -> list[Room]:
    """Return the room of each set: all of it where all sets fit, else its share."""
    beside = frozenset(_folder(found, root) for found in sets)
    whole = [_whole_bytes(found) for found in sets]
    if len(sets) == 1 or sum(whole) > cache_bytes:
        whole = [int(share * cache_bytes) for share in shares]
    return [Room(root, cache_bytes, own, beside) for own in whole]


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
    check_settings(config, found)
    return found


def check_settings(config: RootConfig, found: ShardSet) -> None:
    """Refuse a set that was made with other settings than those of the training.

    Raises:
        ConfigError: names both, and what to add.
    """
    there, here = needed_settings(config, found), row_settings(config)
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


def check_alike(config: RootConfig, sets: Sequence[ShardSet]) -> None:
    """Refuse sets that cannot be trained on together.

    Raises:
        ConfigError: names the two and what is different.
    """
    first, *others = sets
    wanted = needed_settings(config, first)
    for found in others:
        there = needed_settings(config, found)
        other = [name for name in wanted | there if there.get(name) != wanted.get(name)]
        if other:
            both = "; ".join(
                f"{n} is {_text(wanted.get(n))} and {_text(there.get(n))}" for n in other
            )
            raise ConfigError(
                f"The shards at {first.place.where()} and {found.place.where()} were made with "
                f"different settings: {both}. Write one of them again, with those of the other."
            )


def needed_settings(config: RootConfig, found: ShardSet) -> dict[str, Any]:
    """Return the settings of a set that those of the training must be equal to."""
    there = dict(found.settings)
    if config.mode.name is not Mode.streaming:
        there.pop(SHARD_SEGMENTS, None)  # other modes keep rows in their own way
    return there


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


def rows_of(config: RootConfig, found: ShardSet, room: Room | None = None) -> ShardRows:
    """Return what takes the rows of a set for the modes that keep them.

    Raises:
        ConfigError: another version of the program made them.
    """
    own = room or _alone(found, cache_dir(config.paths), int(config.mode.cache_gib * build.GIB))
    rows = ShardRows(
        found,
        build.frontend_of(config),
        keep=config.mode.keep,
        dtype=build.store_dtype(config),
        files=lambda: _files(found, own, COPIES_FOR_A_PASS, {}),
    )
    if rows.spec != spec_of(found):
        raise ConfigError(
            f"The shards at {found.place.where()} were written by chirpid "
            f"{found.index.about['chirpid']}, whose rows are {spec_of(found)}; here they would be "
            f"{rows.spec}. Write them again."
        )
    return rows


def check_budgets(found: ShardSet, options: StoreOptions, room: Room | None = None) -> None:
    """Refuse a stream whose window does not fit, before anything is brought.

    Raises:
        BudgetError: it is over `mode.cache_gib`, with what it needs.
    """
    own = room or _alone(found, options.cache_root, options.cache_bytes)
    if found.local_files() is None:
        _copies_bytes(found, own, 2 * kept_shards(found.layout, options))


def stream(
    found: ShardSet,
    spec: RowSpec,
    options: StoreOptions,
    about: dict[str, object],
    room: Room | None = None,
) -> StreamingDataset:
    """Return the dataset that reads a set where it is.

    Raises:
        BudgetError: its window does not fit on the disk.
    """
    own = room or _alone(found, options.cache_root, options.cache_bytes)
    kept = kept_shards(found.layout, options)
    # The window, and as much again that comes while it is in use.
    return StreamingDataset(spec, _files(found, own, 2 * kept, about), found.layout, kept)


def _alone(found: ShardSet, root: Path, cache_bytes: int) -> Room:
    return rooms_of([found], root, cache_bytes, [1.0])[0]


def _files(found: ShardSet, room: Room, num_shards: int, about: dict[str, object]) -> ShardFiles:
    local = found.local_files()
    if local is not None:
        return local
    need = _copies_bytes(found, room, num_shards)
    folder = _folder(found, room.root)
    about = {"dataset": f"copies of {found.place.where()}"} | about
    use, _ = reserve(room.root, folder, need_bytes=need, budget_bytes=room.cache_bytes, about=about)
    try:
        return RemoteShards(
            found.place, found.layout, found.index.checksums, folder=folder, budget_bytes=need
        )
    finally:
        use.close()


def _folder(found: ShardSet, root: Path) -> Path:
    return cache_folder(root, "shards", f"copies-{found.index.key}")


def _whole_bytes(found: ShardSet) -> int:
    return sum(shard_bytes(found.layout, shard) for shard in range(found.layout.num_chunks))


def _copies_bytes(found: ShardSet, room: Room, num_shards: int) -> int:
    """Return what copies of shards may take: all of them, or what other caches leave.

    Raises:
        BudgetError: not even `num_shards` of them fit.
    """
    whole = _whole_bytes(found)
    least = min(num_shards * shard_bytes(found.layout, 0), whole)
    if least > room.own_bytes:
        part = f", {size_text(room.own_bytes)} of it for this set" if len(room.beside) > 1 else ""
        raise BudgetError(
            f"Streaming from {found.place.where()} keeps {num_shards} shards on the disk, "
            f"{size_text(least)}; mode.cache_gib allows {size_text(room.cache_bytes)}{part}. "
            "Raise it, or lower mode.window_segments."
        )
    if whole <= room.own_bytes:
        return whole
    others = sum(e.claimed_bytes for e in list_caches(room.root) if e.path not in room.beside)
    return max(least, room.own_bytes * (room.cache_bytes - others) // room.cache_bytes)


def _text(value: object) -> str:
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
