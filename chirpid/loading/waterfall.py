"""Where the time of a sample goes, stage by stage, and what is done at the same time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from chirpid.loading.achieved import Achieved
from chirpid.loading.monitor import EpochMonitor
from chirpid.loading.plan import in_flight
from chirpid.loading.stages import STAGES, label
from chirpid.loading.tune.costs import Costs
from chirpid.loading.tune.model import Setting
from chirpid.types import Backend, Batch, IntArray

_WIDTH = 32
_LEAST = 2
_SMALL = 0.005
"""Bars of less than this share of the whole are left out."""

Run = Callable[[Sequence[IntArray]], Iterator[Batch]]


@dataclass(frozen=True, slots=True)
class Bar:
    """A stage."""

    name: str
    ms: float
    """Milliseconds a sample of whoever does it."""
    who: str
    when: str
    """Before or beside the step, or in it."""
    fetches: bool


@dataclass(frozen=True, slots=True)
class Watched:
    """What some seconds of loading, with or without training, came to."""

    achieved: Achieved
    samples_per_s: float
    num_batches: int
    fetch_s: float
    """Seconds a sample of fetching by the clock around it: the stages add up to it."""


def watch(
    run: Run,
    batches: Sequence[IntArray],
    *,
    seconds: float,
    warm: int,
    step: Callable[[Batch], None] | None = None,
    wait: Callable[[], None] = lambda: None,
) -> Watched | None:
    """Load batches for so long, training on each if told how; None if there were too few.

    Args:
        warm: batches that are not counted: workers fill their ring meanwhile.
        wait: returns when the device has done all that it was given.
    """
    monitor, passing = EpochMonitor(), run(batches)
    for _, batch in zip(range(warm), passing, strict=False):
        if step is not None:
            step(batch)
    wait()
    begin_s = time.perf_counter()
    for batch in monitor.watch(_for(seconds, passing)):
        if step is not None:
            step(batch)
    wait()
    took_s = time.perf_counter() - begin_s
    figures = monitor.summary()
    if not figures:
        return None
    num_batches, num_samples = len(monitor.stepped_s), monitor.num_samples
    figures["loader/samples_per_s"] = rate = num_samples / took_s
    found = Achieved.of(figures, round(num_samples / num_batches), epoch_samples=num_samples)
    return Watched(found, rate, num_batches, sum(monitor.busy_s.values()) / max(1, num_samples))


def _for(seconds: float, passing: Iterator[Batch]) -> Iterator[Batch]:
    """Yield batches until the time is up, and two at least."""
    begin_s = time.perf_counter()
    for number, batch in enumerate(passing, start=1):
        yield batch
        if number >= _LEAST and time.perf_counter() - begin_s >= seconds:
            return


def bars(
    alone: Watched, costs: Costs, setting: Setting, *, batch_size: int, on_gpu: bool
) -> list[Bar]:
    """Return the stages in the order in which a sample goes through them.

    Args:
        alone: the loader with nothing else at work.
        costs: of the training step.
    """
    disk_s = alone.achieved.disk_s(batch_size)
    stages = dict(alone.achieved.stage_s)
    reader = "decode" if "decode" in stages else "gather"
    if reader in stages:
        stages[reader] = max(0.0, stages[reader] - disk_s)
    who, when = _fetcher(setting), "beside the step" if setting.num_workers else "before the step"
    named = {"disk": disk_s, **{label(one): stages[one] for one in STAGES if one in stages}}
    named["other"] = max(0.0, alone.fetch_s - sum(named.values()))
    found = [Bar(name, 1e3 * s, who, when, fetches=True) for name, s in named.items()]
    hand_s = costs.hand_over(setting.backend.value) / batch_size if setting.num_workers else 0.0
    found.append(Bar("hand-over", 1e3 * hand_s, "main thread", "before the step", fetches=False))
    model_s = max(0.0, costs.step_s - costs.transfer_s - costs.augment_s)
    device = "GPU" if on_gpu else "CPU"
    for name, seconds in (("transfer", costs.transfer_s), ("augment", costs.augment_s),
                          ("model", model_s)):  # fmt: skip
        found.append(Bar(name, 1e3 * seconds / batch_size, device, "the step", fetches=False))
    whole = sum(bar.ms for bar in found)
    return [bar for bar in found if bar.ms >= _SMALL * whole]


def lines(shown: Sequence[Bar]) -> list[str]:
    """Return the bars as text, each as long as its share of the longest."""
    longest = max((bar.ms for bar in shown), default=1.0)
    names = max((len(bar.name) for bar in shown), default=0)
    text = []
    for bar in shown:
        drawn = "█" * max(1, round(_WIDTH * bar.ms / longest))
        text.append(f"{bar.name:<{names}}  {bar.ms:9.3f}  {drawn:<{_WIDTH}}  {bar.who}, {bar.when}")
    return text


def warm_batches(setting: Setting) -> int:
    """Return the batches after which workers are ahead as far as they can be."""
    return in_flight(setting.num_workers, setting.prefetch)


def as_json(shown: Sequence[Bar]) -> list[Mapping[str, object]]:
    """Return the bars as they are written."""
    return [
        {"stage": bar.name, "ms_per_sample": bar.ms, "who": bar.who, "when": bar.when}
        for bar in shown
    ]


def with_batch(watched: Watched, batch_size: int) -> Achieved:
    """Return what was achieved, of whole batches."""
    return replace(watched.achieved, batch_s=batch_size / watched.samples_per_s)


def _fetcher(setting: Setting) -> str:
    if setting.backend is Backend.device:
        return "GPU"
    if not setting.num_workers:
        return "main thread"
    one = setting.backend.value.removesuffix("es" if setting.backend is Backend.processes else "s")
    return f"{setting.num_workers} {setting.backend.value}" if setting.num_workers > 1 else (
        f"1 {one}")  # fmt: skip
