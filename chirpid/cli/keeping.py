"""What keeps a loader going through a training: its guard, its adapter, and the watch for leaks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from torch import Tensor

from chirpid import build
from chirpid.cli.prepare import Prepared
from chirpid.data.datasets import DirectDataset, SegmentDataset, TensorDataset
from chirpid.data.modes import open_dataset, store_key
from chirpid.data.rows import RowMaker, Watch
from chirpid.engine.observer import QuietObserver
from chirpid.errors import StorageError
from chirpid.loading.adapt import Adapter, Limits
from chirpid.loading.changes import shape_of
from chirpid.loading.factory import Loader
from chirpid.loading.leaks import LeakWatch, ProcessMemory
from chirpid.loading.memory import MemoryGuard
from chirpid.loading.monitor import EpochMonitor
from chirpid.types import Mode, ReadWay

Say = Callable[[str], None]


def keepers_of(loader: Loader, prepared: Prepared, say: Say) -> list[QuietObserver]:
    """Give the loader its guard, and return who looks after it between epochs."""
    config = prepared.config
    found: list[QuietObserver] = []
    if config.memory.guard:
        loader.guard = MemoryGuard(fallback=fallback_of(prepared, say), say=say)
        found.append(LeakObserver(say))
    if config.loader.adapt:
        found.append(AdaptObserver(adapter_of(loader, prepared, say)))
    return found


class RowsInRam(RowMaker):
    """Gives the rows that an eager dataset holds to whoever builds a store of them."""

    def __init__(self, like: RowMaker, rows: Tensor) -> None:
        self.segments, self.frontend, self.spec = like.segments, like.frontend, like.spec
        self.num_samples, self.rows = like.num_samples, rows

    def make_range(self, first: int, end: int, out: Tensor, watch: Watch | None = None) -> None:
        out.copy_(self.rows[first:end])


def fallback_of(prepared: Prepared, say: Say) -> Callable[[TensorDataset, bool], SegmentDataset]:
    """Return what puts the rows of mode=eager into the cache that mode=cached would use."""
    config, maker = prepared.config, prepared.maker
    frontend = build.frontend_settings(config)
    key = store_key(maker, frontend)
    about: dict[str, object] = {
        "dataset": prepared.manifest.name,
        "segments": len(prepared.segments),
        "frontend": frontend,
    }

    def fall_back(held: TensorDataset, address_space: bool) -> SegmentDataset:
        options = build.store_options(config, prepared.machine, prepared.plan)
        # A map takes as much of the address space as the rows do in RAM.
        read = ReadWay.direct if address_space else ReadWay.map
        rows = RowsInRam(maker, held.rows)
        moved = open_dataset(
            Mode.cached,
            rows,
            key=key,
            about=about,
            # One thread: each would hold a chunk of rows of its own.
            options=replace(options, read=read, num_threads=1, free_bytes=None),
            say=say,
        )
        if address_space and not isinstance(moved, DirectDataset):
            moved.close()
            raise StorageError("A map of the cache takes as much of the address space.")
        return moved

    return fall_back


def adapter_of(loader: Loader, prepared: Prepared, say: Say) -> Adapter:
    """Return what changes the plan between epochs, inside the machine and its budgets."""
    config, plan = prepared.config, prepared.plan
    held = plan.total_bytes - shape_of(plan).num_batches * plan.batch_bytes
    to_spend = build.ram_budget(config, prepared.machine) - held
    limits = Limits(
        num_cores=prepared.machine.num_cores,
        max_workers=config.hardware.max_workers,
        max_batches=to_spend // max(1, plan.batch_bytes),
        model_on_cpu=prepared.device.type == "cpu",
    )

    def may_grow() -> bool:
        return loader.guard is None or not loader.guard.has_stepped

    return Adapter(loader, limits, may_grow=may_grow, say=say)


class AdaptObserver(QuietObserver):
    """Tells an adapter of each epoch. It changes the loader, and nothing that it delivers."""

    def __init__(self, adapter: Adapter) -> None:
        self.adapter = adapter
        self._monitor: EpochMonitor | None = None

    def batch_done(self, fold: int, done: int, loss: float, monitor: EpochMonitor) -> None:
        self._monitor = monitor

    def epoch_done(self, fold: int, epoch: int, figures: Mapping[str, float]) -> None:
        monitor, self._monitor = self._monitor, None
        if monitor is not None:
            num_batches = len(monitor.stepped_s)
            self.adapter.epoch_done(figures, seconds=monitor.elapsed_s, num_batches=num_batches)


class LeakObserver(QuietObserver):
    """Looks at the processes of the run after each epoch, all folds in a row."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self.watch, self.memory = LeakWatch(), ProcessMemory()
        self._num_epochs = 0

    def epoch_done(self, fold: int, epoch: int, figures: Mapping[str, float]) -> None:
        self._num_epochs += 1
        read = self.memory.read()
        for line in self.watch.note(self._num_epochs, read) if read is not None else []:
            self._say(line)
