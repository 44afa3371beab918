"""One pass over the batches, measured.

The clock runs around `next()`: what comes after the batch arrived is not loading.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from chirpid.loading.monitor.recording import KEPT_BATCHES, Recording, spans_as_arrays
from chirpid.loading.monitor.usage import CoresHad, CoreWatch, Usage, read_usage
from chirpid.types import Batch, FloatArray, Span

MIB = 2**20
SAMPLE_S = 1.0
MOST_SAMPLES = 1000


@dataclass(slots=True)
class EpochMonitor:
    """Measures one pass over the batches, from the thread that uses them."""

    asked_s: list[float] = field(default_factory=list)
    got_s: list[float] = field(default_factory=list)
    stepped_s: list[float] = field(default_factory=list)
    num_samples: int = 0
    num_bytes: int = 0
    stages: dict[str, float] = field(default_factory=dict)
    transfer_s: float = 0.0
    """Seconds so far of copying batches to the device; whoever copies adds them."""
    augment_s: float = 0.0
    """Seconds so far of augmentation on the device; whoever augments adds them."""
    own_s: float = 0.0
    """Seconds that measuring itself took, before and after the epoch included."""
    busy_s: dict[int, float] = field(default_factory=dict)
    """Seconds that each worker worked on batches that have been handed out."""
    core_s: float = 0.0
    """Seconds of them that workers had a core, the training loop included where it fetches."""
    rarely: bool = False
    """What is in use is read four times a second at most: epochs of 50 ms would notice."""
    clock: Callable[[], float] = time.perf_counter
    """Seconds, as spans tell the time."""
    _zero: float = 0.0
    _waited_s: float = 0.0
    _transferred_s: list[float] = field(default_factory=list)
    _augmented_s: list[float] = field(default_factory=list)
    _made: deque[tuple[int, tuple[Span, ...]]] = field(
        default_factory=lambda: deque(maxlen=KEPT_BATCHES)
    )
    _samples: list[tuple[float, float, Usage]] = field(default_factory=list)
    """When what is in use was asked for, when it was read, and what it was."""
    _sample_s: float = SAMPLE_S
    _next_sample_s: float = 0.0
    _cores: CoreWatch | None = None

    def watch(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        """Yield the batches; the time between two is taken as the step of the first."""
        clock = self.clock
        self._zero = clock()
        self._sample(self._zero)
        self._cores = CoreWatch(rarely=self.rarely)
        self.own_s += clock() - self._zero
        source = iter(batches)
        while True:
            asked = clock()
            try:
                batch = next(source)
            except StopIteration:
                return
            got = clock()
            yield batch
            stepped = clock()
            self._note(batch, asked, got, stepped)
            self.own_s += clock() - stepped

    def _note(self, batch: Batch, asked: float, got: float, stepped: float) -> None:
        zero = self._zero
        if batch.spans:
            self._note_spans(batch.spans)
        self.asked_s.append(asked - zero)
        self.got_s.append(got - zero)
        self.stepped_s.append(stepped - zero)
        self._transferred_s.append(self.transfer_s)
        self._augmented_s.append(self.augment_s)
        self._waited_s += got - asked
        self.num_samples += len(batch.ids)
        self.num_bytes += batch.inputs.nbytes
        stages = self.stages
        for name, amount in batch.stages.items():
            stages[name] = stages.get(name, 0.0) + amount
        if stepped >= self._next_sample_s:
            self._sample(stepped)

    def _note_spans(self, spans: tuple[Span, ...]) -> None:
        busy_s = self.busy_s
        for worker, begin, end, _, core_s in spans:
            busy_s[worker] = busy_s.get(worker, 0.0) + end - begin
            self.core_s += core_s
        self._made.append((len(self.asked_s), spans))

    def _sample(self, now: float) -> None:
        """Write down what is in use. In a long epoch every other one goes, and fewer come."""
        self._samples.append((now - self._zero, *read_usage(rarely=self.rarely)))
        if len(self._samples) > MOST_SAMPLES:
            del self._samples[1:-1:2]
            self._sample_s *= 2
        self._next_sample_s = now + self._sample_s

    @property
    def timeline(self) -> FloatArray:
        """Seconds from the start, [batches, 3]: asked, got, step done."""
        return np.array([self.asked_s, self.got_s, self.stepped_s], dtype=np.float64).T

    @property
    def elapsed_s(self) -> float:
        """Seconds from the start to the end of the last step."""
        return self.stepped_s[-1] if self.stepped_s else 0.0

    @property
    def wait_share(self) -> float:
        """Share of the time so far that the loop waited for batches."""
        return self._waited_s / max(self.elapsed_s, 1e-9)

    def recording(self) -> Recording:
        """Return what plots and traces are made from; spans are of the last `KEPT_BATCHES`."""
        begin = self.clock()
        first = len(self.asked_s) - KEPT_BATCHES
        inside = np.array([self._transferred_s, self._augmented_s], dtype=np.float64).T
        recording = Recording(
            timeline_B3=self.timeline,
            inside_B2=np.diff(inside, axis=0, prepend=0.0),
            samples_AU=np.array([[at, *use] for at, _, use in self._samples]).reshape(-1, 6),
            **spans_as_arrays((m for m in self._made if m[0] >= first), zero_s=self._zero),
        )
        self.own_s += self.clock() - begin
        return recording

    def summary(self) -> dict[str, float]:
        """Return the figures of the epoch, named as in MLflow; none if it had no batch."""
        if not self.stepped_s:
            return {}
        begin = self.clock()
        self._sample(begin)
        figures = self._waits() | self._work() | self._workers() | self._use()
        if self.busy_s:
            figures["loader/fetch_cpu_share"] = self.core_s / max(self.elapsed_s, 1e-9)
        had = CoresHad(0.0) if self._cores is None else self._cores.cores()
        if had.others is not None and had.queued is not None:
            figures["loader/others_cores"] = had.others
            figures["loader/queued_threads"] = had.queued
        self.own_s += self.clock() - begin
        return figures | {"loader/monitor_share": self.own_s / max(self.elapsed_s, 1e-9)}

    def _waits(self) -> dict[str, float]:
        # As lists: of the few batches of a short epoch, arrays would take most of the time.
        waits_s = [got - asked for asked, got in zip(self.asked_s, self.got_s, strict=True)]
        stepped_s = sum(map(float.__sub__, self.stepped_s, self.got_s))
        mean_step_s = stepped_s / len(waits_s)
        p50_s, p95_s, p99_s = _percentiles(waits_s, (50, 95, 99))
        return {
            "loader/wait_ms_mean": 1e3 * sum(waits_s) / len(waits_s),
            "loader/wait_ms_p50": 1e3 * p50_s,
            "loader/wait_ms_p95": 1e3 * p95_s,
            "loader/wait_ms_p99": 1e3 * p99_s,
            "loader/wait_share": self.wait_share,
            "loader/first_batch_s": waits_s[0],
            # Share of the requests that found their batch ready.
            "loader/occupancy": sum(one < 0.1 * mean_step_s for one in waits_s) / len(waits_s),
            "loader/step_ms": 1e3 * mean_step_s,
        }

    def _work(self) -> dict[str, float]:
        elapsed, num_batches = max(self.elapsed_s, 1e-9), len(self.stepped_s)
        figures = {
            "loader/samples_per_s": self.num_samples / elapsed,
            "loader/bytes_per_s": self.num_bytes / elapsed,
            "loader/transfer_ms": self.transfer_s * 1e3 / num_batches,
        }
        if self.augment_s:
            figures["loader/augment_ms"] = self.augment_s * 1e3 / num_batches
        for name, amount in self.stages.items():
            if name.startswith("num_"):
                figures[f"loader/{name}"] = amount
            else:
                figures[f"loader/{name}_ms_per_sample"] = amount * 1e3 / max(self.num_samples, 1)
        return figures

    def _workers(self) -> dict[str, float]:
        """Return how busy the workers were. Those that got nothing to do in between count, too."""
        num_workers = max(self.busy_s, default=-1) + 1
        if not num_workers:
            return {}
        busy_s = [self.busy_s.get(worker, 0.0) for worker in range(num_workers)]
        elapsed = max(self.elapsed_s, 1e-9)
        return {
            "loader/worker_busy_share": sum(busy_s) / num_workers / elapsed,
            "loader/worker_busy_share_min": min(busy_s) / elapsed,
        }

    def _use(self) -> dict[str, float]:
        (_, begin_s, begin), (_, end_s, end) = self._samples[0], self._samples[-1]
        used = [use for *_, use in self._samples]
        figures = {"loader/rss_mib": max(use.rss_bytes for use in used) / MIB}
        if end_s > begin_s or not self.rarely:  # else it may be shorter than reads are apart
            cpu_s, num_bytes = end.cpu_s - begin.cpu_s, end.disk_bytes - begin.disk_bytes
            figures["loader/cpu_share"] = max(0.0, cpu_s) / max(end_s - begin_s, 1e-9)
            figures["loader/disk_mib"] = max(0.0, num_bytes) / MIB
        # The GPU tells of the second that went before: the first sample is of another time.
        if percents := [u.gpu_percent for u in used[1:] if u.gpu_percent == u.gpu_percent]:
            figures["loader/gpu_percent"] = sum(percents) / len(percents)
        if held := [use.gpu_bytes for use in used if use.gpu_bytes == use.gpu_bytes]:
            figures["loader/gpu_memory_mib"] = max(held) / MIB
        return figures


def _percentiles(values: Sequence[float], percents: Sequence[float]) -> list[float]:
    """Return what `np.percentile` does, of at least one value."""
    in_order, last = sorted(values), len(values) - 1
    found = []
    for percent in percents:
        low, part = divmod(percent / 100 * last, 1)
        below, above = in_order[int(low)], in_order[min(int(low) + 1, last)]
        found.append(below + (above - below) * part)
    return found
