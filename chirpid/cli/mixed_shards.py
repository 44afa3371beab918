"""From settings to several sets of shards that are drawn from by weight, as if they were one."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from torch import Tensor

from chirpid import build
from chirpid.cli import from_shards
from chirpid.config.paths import cache_dir
from chirpid.config.schema import RootConfig
from chirpid.data.check import Checked
from chirpid.data.datasets import SegmentDataset
from chirpid.data.datasets.joined import JoinedDataset
from chirpid.data.join import join_checked, join_segments
from chirpid.data.kept import RowSpec, Stages
from chirpid.data.mix import Mix
from chirpid.data.modes import StoreOptions
from chirpid.data.order import OrderRule
from chirpid.data.rows import RowMaker, Watch
from chirpid.data.segments import SegmentTable
from chirpid.data.sources.shards import ShardRows, ShardSet, open_shard_set
from chirpid.errors import ConfigError


@dataclass(frozen=True, slots=True)
class MixedShards:
    """Sets that were opened, with the tables of all of them together."""

    sets: tuple[ShardSet, ...]
    checked: Checked
    segments: SegmentTable
    mix: Mix


class MixedRows(RowMaker):
    """Rows of several sets, for the modes that keep them."""

    def __init__(self, found: MixedShards, parts: list[ShardRows]) -> None:
        first = parts[0]
        super().__init__(
            found.segments, first.frontend, keep=first.spec.keep, dtype=first.spec.dtype
        )
        self.parts, self.starts = parts, found.mix.starts

    @property
    def implementation(self) -> str:
        """What computed the rows when they were written."""
        return " + ".join(dict.fromkeys(part.implementation for part in self.parts))

    def make(self, index: int, out: Tensor, stages: Stages) -> None:
        self.make_range(index, index + 1, out[None])

    def make_range(self, first: int, end: int, out: Tensor, watch: Watch | None = None) -> None:
        for part, start in zip(self.parts, self.starts, strict=True):
            begin, stop = max(first, start), min(end, start + len(part.segments))
            if begin < stop:
                part.make_range(begin - start, stop - start, out[begin - first : stop - first])

    def close(self) -> None:
        for part in self.parts:
            part.close()


def open_mixed(config: RootConfig) -> MixedShards:
    """Return the sets that `dataset.mix` names.

    Raises:
        StorageError: one is not there, or cannot be read.
        ConfigError: one was made with other settings, or is there twice; names both.
    """
    roots = [one.root for one in config.dataset.mix]
    sets = tuple(open_shard_set(from_shards.place_of(config, root)) for root in roots)
    _check_distinct(sets)
    from_shards.check_alike(config, sets)
    for found in sets:
        from_shards.check_settings(config, found)
    names = _names(roots)
    starts = itertools.accumulate([0, *(len(one.segments) for one in sets[:-1])])
    weights = tuple(one.weight for one in config.dataset.mix)
    return MixedShards(
        sets=sets,
        checked=join_checked([one.checked for one in sets], names),
        segments=join_segments([one.segments for one in sets], names),
        mix=Mix(names, tuple(starts), weights, config.loader.epoch_segments),
    )


def _check_distinct(sets: tuple[ShardSet, ...]) -> None:
    seen: dict[str, ShardSet] = {}
    for found in sets:
        other = seen.setdefault(found.index.key, found)
        if other is not found:
            raise ConfigError(
                f"dataset.mix names one set twice: {other.place.where()} and "
                f"{found.place.where()}. Give it once, with the weights added up."
            )


def _names(roots: list[str]) -> tuple[str, ...]:
    """Return what the sets are called: the last part of each address, or all of it if need be."""
    names = tuple(PurePosixPath(root.rstrip("/")).name or root for root in roots)
    return names if len(set(names)) == len(names) else tuple(roots)


def rows_of(config: RootConfig, found: MixedShards) -> MixedRows:
    """Return what takes the rows of all sets, for the modes that keep them."""
    cache_bytes = int(config.mode.cache_gib * build.GIB)
    shares = found.mix.shares.tolist()
    rooms = from_shards.rooms_of(found.sets, cache_dir(config.paths), cache_bytes, shares)
    parts = zip(found.sets, rooms, strict=True)
    return MixedRows(found, [from_shards.rows_of(config, one, room) for one, room in parts])


def check_budgets(found: ShardSet | MixedShards, options: StoreOptions) -> None:
    """Refuse streams whose windows do not fit, before anything is brought.

    Raises:
        BudgetError: one is over its part of `mode.cache_gib`, with what it needs.
    """
    for one, own, room in _parts(found, options):
        from_shards.check_budgets(one, own, room)


def stream(
    found: ShardSet | MixedShards, spec: RowSpec, options: StoreOptions, about: dict[str, object]
) -> SegmentDataset:
    """Return the dataset that reads one set, or several, where they are."""
    parts = [
        from_shards.stream(one, spec, own, about, room) for one, own, room in _parts(found, options)
    ]
    return JoinedDataset(parts, found.mix.names) if isinstance(found, MixedShards) else parts[0]


def _parts(
    found: ShardSet | MixedShards, options: StoreOptions
) -> list[tuple[ShardSet, StoreOptions, from_shards.Room | None]]:
    """Return each set with its share of the window and of the disk."""
    if isinstance(found, ShardSet):
        return [(found, options, None)]
    rule = OrderRule(block_segments=options.shard_segments, window_segments=options.window_segments)
    rooms = from_shards.rooms_of(
        found.sets, options.cache_root, options.cache_bytes, found.mix.shares.tolist()
    )
    return [
        (one, replace(options, window_segments=window), room)
        for one, window, room in zip(found.sets, found.mix.windows(rule), rooms, strict=True)
    ]
