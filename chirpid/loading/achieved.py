"""What a training came to, and what its own figures say of costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from chirpid.loading.monitor.usage import share_taken
from chirpid.loading.stages import STAGES
from chirpid.loading.tune.costs import SHARED_BYTES_PER_S, THREAD_HAND_OVER_S, Costs
from chirpid.loading.tune.model import Setting, Work, batch_seconds
from chirpid.types import Backend

MIB = 2**20
GATHER_BYTES_PER_S, WRITE_BYTES_PER_S = 4e9, 200e6
"""Rates of copying kept rows and of writing a store, where the run did neither: low ones, so that
what is promised is rather too little."""
READS_BYTES = 1024
"""A sample that brings more than this from a disk is read, not taken from the page cache."""
IDLE_SHARE = 0.8
"""Workers that are busy for less of the time have no room to work ahead, or nothing to do."""
UNFAIR = 1.6
"""By how much more than its share of all cores what fetches slows down a step beside it."""
_MOST_SPREAD = 3.0


@dataclass(frozen=True, slots=True)
class Achieved:
    """What a training came to, from the monitor's figures of its epochs."""

    batch_s: float
    wait_share: float
    stage_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds a sample of each stage of fetching, in whoever fetched, waits included."""
    cpu_cores: float = 0.0
    """Cores that the program kept busy, workers included."""
    fetch_cores: float | None = None
    """Part of `cpu_cores` that fetched; None if it is not known."""
    disk_bytes: float = 0.0
    """Read from disks for a sample; 0 also where the system does not tell."""
    busy_share: float | None = None
    """Share of the time that workers worked; None without workers."""
    others_cores: float = 0.0
    """Cores that other programs had while the program was ready for them; 0 if it is not known."""
    queued_threads: float | None = None
    """Threads that were ready and had no core, on average; None if it is not known."""

    @classmethod
    def of(
        cls, figures: Mapping[str, float], batch_size: int, *, epoch_samples: int = 0
    ) -> Achieved:
        """Return what figures named as in MLflow say.

        Args:
            epoch_samples: samples of an epoch; 0 if it is not known, nor then what disks brought.
        """
        suffix = "_ms_per_sample"
        stages = {
            name.removeprefix("loader/").removesuffix(suffix): value / 1e3
            for name, value in figures.items()
            if name.endswith(suffix)
        }
        disk = figures.get("loader/disk_mib", 0.0) * MIB
        return cls(
            batch_s=batch_size / max(figures["loader/samples_per_s"], 1e-9),
            wait_share=figures["loader/wait_share"],
            stage_s={name: s for name, s in stages.items() if name in STAGES},
            cpu_cores=figures.get("loader/cpu_share", 0.0),
            fetch_cores=figures.get("loader/fetch_cpu_share"),
            disk_bytes=disk / epoch_samples if epoch_samples else 0.0,
            busy_share=figures.get("loader/worker_busy_share"),
            others_cores=figures.get("loader/others_cores", 0.0),
            queued_threads=figures.get("loader/queued_threads"),
        )

    def others_share(self, num_cores: int) -> float:
        """Return the share of the core time that the program was ready to use and others had."""
        return share_taken(self.others_cores, self.cpu_cores, num_cores)

    @property
    def load_s(self) -> float:
        """Seconds a sample of fetching, waits included."""
        return sum(self.stage_s.values())

    def load_core_s(self, batch_size: int) -> float:
        """Return the core-seconds a sample of fetching; all of `load_s` if they are not known."""
        if self.fetch_cores is None:
            return self.load_s
        return min(self.load_s, self.fetch_cores * self.batch_s / batch_size)

    def disk_s(self, batch_size: int) -> float:
        """Return the seconds a sample that fetching waited for a disk.

        Off its core a worker also waits for others that share it: those do not make a disk read.
        """
        if self.disk_bytes < READS_BYTES:
            return 0.0
        return self.load_s - self.load_core_s(batch_size)

    def core_stages(self, batch_size: int) -> dict[str, float]:
        """Return the core-seconds a sample of each stage: without what was waited in it."""
        stages, core_s = dict(self.stage_s), self.load_core_s(batch_size)
        reader = "decode" if "decode" in stages else "gather"
        if reader in stages:
            stages[reader] = max(0.0, stages[reader] - self.disk_s(batch_size))
        left_s = sum(stages.values())
        share = core_s / left_s if left_s > core_s else 1.0
        return {name: seconds * share for name, seconds in stages.items()}


def costs_of(
    achieved: Achieved, setting: Setting, work: Work, *, model_threads: int | None = None
) -> Costs:
    """Return what a run's own figures say of costs; what it never did is taken from plain rates.

    Args:
        model_threads: of the processor that compute a step; None where a GPU does it. A step that
            shares its cores with workers lasts longer than it would alone, by what they worked at
            most.
    """
    size = work.batch_size
    stages, disk_s = achieved.core_stages(size), achieved.disk_s(size)
    core_s = achieved.load_core_s(size)
    step_s = achieved.batch_s * (1 - achieved.wait_share)
    step_core_s = max(0.0, achieved.cpu_cores * achieved.batch_s - size * core_s)
    if crowds(achieved, setting, work, model_threads) and model_threads:
        # However little the step worked, no more is promised: other programs may have had the
        # cores. Threads of a step wait for the slowest, so it is more than a fair share.
        freed_s = UNFAIR * size * core_s / work.num_cores
        if achieved.queued_threads is not None:  # no step was held up for longer than one waited
            freed_s = min(freed_s, achieved.queued_threads * achieved.batch_s)
        step_s = min(step_s, max(step_s - freed_s, step_core_s / model_threads))
    gather_s = stages.pop("gather", 0.0) or work.batch_bytes / max(1, size) / GATHER_BYTES_PER_S
    costs = Costs(
        batch_size=size,
        stage_s={} if setting.keeps else stages,
        read_s=0.0 if setting.keeps else disk_s,
        reread_s=0.0 if setting.keeps else disk_s,
        gather_s=gather_s,
        store_read_s=disk_s if setting.keeps else 0.0,
        write_s=work.store_bytes / max(1, work.num_samples) / WRITE_BYTES_PER_S,
        step_s=step_s,
        step_core_s=min(step_core_s, step_s * work.num_cores),
        eval_s=step_s / 3,
        hand_over_s={
            Backend.threads.value: THREAD_HAND_OVER_S,
            Backend.processes.value: work.batch_bytes / SHARED_BYTES_PER_S,
        },
    )
    return _with_spread(costs, achieved, setting, work)


def crowds(achieved: Achieved, setting: Setting, work: Work, model_threads: int | None) -> bool:
    """Return whether workers took cores from the training step.

    Args:
        model_threads: of the processor that compute a step; None where a GPU does it.
    """
    fetching = achieved.load_core_s(work.batch_size) * work.batch_size / achieved.batch_s
    if not setting.num_workers or fetching < 0.05 * work.num_cores:
        return False
    if achieved.queued_threads is not None and achieved.queued_threads < 0.05 * work.num_cores:
        return False  # hardly a thread ever waited for a core
    if model_threads is None:
        return achieved.cpu_cores >= 0.8 * work.num_cores
    return model_threads + fetching > work.num_cores


def _with_spread(costs: Costs, achieved: Achieved, setting: Setting, work: Work) -> Costs:
    """Return the costs; where workers were idle and the model waited, batches differ in cost.

    Then a deeper ring helps. How much they differ is what the model needs to come to this run.
    """
    idle = achieved.busy_share is not None and achieved.busy_share < IDLE_SHARE
    if not (setting.num_workers and idle and achieved.wait_share >= 0.05):
        return costs
    low, high = 0.0, _MOST_SPREAD
    for _ in range(30):
        middle = (low + high) / 2
        if batch_seconds(replace(costs, spread=middle), setting, work) < achieved.batch_s:
            low = middle
        else:
            high = middle
    return replace(costs, spread=low)


def bound_share(costs: Costs, achieved: Achieved, work: Work) -> float:
    """Return the least time that a batch can take here over the time that it took: 1 is the best.

    No loader makes it shorter than the step alone, nor than all the work there is on all cores.

    Args:
        costs: with the step as it is with nothing else at work.
    """
    load_core_s = achieved.load_core_s(work.batch_size) * work.batch_size
    cores_s = (load_core_s + costs.step_core_s) / work.num_cores
    return min(1.0, max(costs.step_s, cores_s) / max(achieved.batch_s, 1e-12))
