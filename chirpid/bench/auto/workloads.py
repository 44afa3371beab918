"""Trainings that want different loaders, and the fixed settings to search through for each."""

from __future__ import annotations

from dataclasses import dataclass, field

MIB = 2**20


@dataclass(frozen=True, slots=True)
class SlowDisk:
    """A disk of this speed, and no room in RAM to keep what was read from it."""

    bytes_per_s: int
    spare_bytes: int
    """Memory that may be taken beyond what is taken by then; page cache counts."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A set of recordings, a model, and how long it is trained."""

    name: str
    kind: str
    """Format of the recordings: wav, flac or ogg."""
    recordings: int
    """Of one window of five seconds each."""
    epochs: int
    width: int
    """Channels of the first layer of the network: 8 is light, 32 is what ChirpID trains with."""
    about: str
    overrides: tuple[str, ...] = ()
    slow_disk: SlowDisk | None = None

    def all_overrides(self) -> list[str]:
        """Return the command line, but for paths and the loader."""
        return [
            "dataset=csv", "dataset.check=header", "tracking=off", "cv.num_folds=10",
            "cv.folds=[0]", "engine.bootstrap_samples=10", f"engine.epochs={self.epochs}",
            f"model.params.width={self.width}", *self.overrides,
        ]  # fmt: skip


WORKLOADS = (
    Workload("wav-light", "wav", 800, 6, 8, "WAV, a light model, six epochs"),
    Workload("flac-light", "flac", 800, 4, 8, "FLAC, a light model, four epochs"),
    Workload("ogg-heavy", "ogg", 400, 3, 32, "Ogg, a heavy model, three epochs"),
    Workload("flac-once", "flac", 800, 1, 32, "FLAC, a heavy model, seen once"),
    Workload(
        "flac-large", "flac", 1200, 3, 8, "FLAC, larger than RAM and cache may hold",
        overrides=("memory.budget_gib=0.02", "mode.cache_gib=0.02"),
    ),
    Workload(
        "wav-slow-disk", "wav", 700, 4, 8, "WAV from a disk of 60 MB/s, too much to stay in RAM",
        slow_disk=SlowDisk(60 * 10**6, 200 * MIB),
    ),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fixed:
    """One setting of mode, backend and workers."""

    name: str
    overrides: tuple[str, ...] = field(default=())


def _fixed(mode: str, backend: str, workers: int = 0) -> Fixed:
    name = f"{mode}, {backend}" + (f", {workers}" if workers else "")
    overrides = [f"mode={mode}", "loader=balanced", f"loader.backend={backend}"]
    if workers:
        overrides += [f"loader.num_workers={workers}", "loader.prefetch=2"]
    return Fixed(name, tuple(overrides))


def fixed_settings(num_cores: int) -> list[Fixed]:
    """Return every mode with every backend and the worker counts that a machine has cores for."""
    counts = sorted({1, max(1, num_cores // 2), num_cores})
    found = []
    for mode in ("lazy", "eager", "cached"):
        found.append(_fixed(mode, "inline"))
        found += [_fixed(mode, "threads", count) for count in counts]
    return found + [_fixed("lazy", "processes", count) for count in counts]


AUTO = Fixed("auto", ("loader=auto",))
TORCH = Fixed("torch DataLoader", ("mode=lazy", "loader=safe"))
"""The same training through `DataLoader(dataset, batch_size, shuffle)` with torch's defaults."""
