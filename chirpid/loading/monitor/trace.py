"""An epoch as a trace of events, which ui.perfetto.dev shows: who did what, and when.

Format: Chrome's Trace Event Format, JSON object, with complete (`X`), counter (`C`) and metadata
(`M`) events; times in microseconds. Source: docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQ
tYMH4h6I0nSsKchNAySU.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from chirpid.loading.monitor.recording import SAMPLED, Recording
from chirpid.storage.atomic import write_text
from chirpid.types import FloatArray, IntArray

LOOP, WORKERS = 1, 2
"""What stands for processes in a trace: the training loop with its counters, and the workers."""
_MIB = 2**20
Event = dict[str, Any]


class Curve(NamedTuple):
    """A quantity over an epoch; a value holds until the next. A rate stands where it begins."""

    name: str
    unit: str
    times_s: FloatArray
    values: FloatArray


def write_trace(recording: Recording, path: Path, *, title: str = "Loader") -> None:
    """Write the last `KEPT_BATCHES` batches of an epoch as a trace.

    Raises:
        StorageError: the file cannot be written.
    """
    whole = {"displayTimeUnit": "ms", "otherData": {"title": title},
             "traceEvents": list(trace_events(recording, title=title))}  # fmt: skip
    write_text(path, json.dumps(whole, separators=(",", ":")))


def trace_events(recording: Recording, *, title: str = "Loader") -> Iterator[Event]:
    """Yield the lanes' names, then the events of the loop, the workers and the counters.

    A stage of many rows is drawn once, as long as all its work on the span took: within a span
    the stages lie end to end, though the rows went through them one after the other.
    """
    yield from _names(recording, title)
    yield from _loop(recording)
    for worker in recording.workers:
        mine = np.flatnonzero(recording.worker_S == worker)
        yield from _spans(recording, mine, WORKERS, worker)
    yield from _counters(recording)


def _names(recording: Recording, title: str) -> Iterator[Event]:
    yield _meta("process_name", LOOP, 0, name=title)
    yield _meta("process_sort_index", LOOP, 0, sort_index=LOOP)
    yield _meta("thread_name", LOOP, 0, name="training loop")
    if recording.workers:
        yield _meta("process_name", WORKERS, 0, name="loader workers")
        yield _meta("process_sort_index", WORKERS, 0, sort_index=WORKERS)
    for worker in recording.workers:
        yield _meta("thread_name", WORKERS, worker, name=f"worker {worker}")
        yield _meta("thread_sort_index", WORKERS, worker, sort_index=worker)


def _meta(kind: str, pid: int, tid: int, **arguments: object) -> Event:
    return {"ph": "M", "name": kind, "pid": pid, "tid": tid, "args": arguments}


def _loop(recording: Recording) -> Iterator[Event]:
    """Yield waits, with what the loop itself made in them, and steps with their parts."""
    own = np.flatnonzero(recording.worker_S < 0)
    made_in = dict(zip(recording.batch_S[own].tolist(), own.tolist(), strict=True))
    first = recording.first_kept
    times_ns = _ns(recording.timeline_B3)
    inside_ns = _ns(recording.inside_B2)
    for batch in range(first, len(times_ns)):
        asked, got, stepped = times_ns[batch].tolist()
        yield _event("waiting", LOOP, 0, asked, got, batch=batch)
        if batch in made_in:
            within = (asked, got)
            yield from _spans(recording, np.array([made_in[batch]]), LOOP, 0, within=within)
        yield _event("step", LOOP, 0, got, stepped, batch=batch)
        at = got
        for name, length in zip(("transfer", "augment"), inside_ns[batch].tolist(), strict=True):
            end = min(at + length, stepped)
            if end > at:
                yield _event(name, LOOP, 0, at, end)
            at = end


def _spans(
    recording: Recording,
    which: IntArray,
    pid: int,
    tid: int,
    *,
    within: tuple[int, int] | None = None,
) -> Iterator[Event]:
    """Yield the spans of a lane with their stages, each inside the one around it."""
    spans_ns = _ns(recording.span_S2[which])
    stages_ns = _ns(recording.stage_SK[which])
    batches = recording.batch_S[which].tolist()
    low, high = within or (0, 2**62)
    for row in np.argsort(spans_ns[:, 0], kind="stable").tolist():
        # To the nanosecond, the end of one may round to after the begin of the next.
        begin, end = max(low, int(spans_ns[row, 0])), min(high, int(spans_ns[row, 1]))
        low = max(begin, end)
        yield _event(f"batch {batches[row]}", pid, tid, begin, low, batch=batches[row])
        at = begin
        for name, length in zip(recording.stages, stages_ns[row].tolist(), strict=True):
            until = min(at + length, low)
            if until > at:
                yield _event(name, pid, tid, at, until)
            at = until


def _counters(recording: Recording) -> Iterator[Event]:
    for curve in curves(recording):
        for at, value in zip(curve.times_s.tolist(), curve.values.tolist(), strict=True):
            at_us, value = round(max(at, 0.0) * 1e6, 3), round(value, 3)
            # Perfetto shows a counter under its name and, after it, that of its argument.
            yield {"ph": "C", "name": curve.name, "pid": LOOP, "tid": 0, "ts": at_us,
                   "args": {curve.unit: value}}  # fmt: skip


def curves(recording: Recording) -> list[Curve]:
    """Return what is known of the batches that lay ready, and of what was in use."""
    ready = Curve("batches", "ready", *recording.ready())
    sampled = [_known(curve) for curve in _sampled(recording)]
    return [curve for curve in (ready, *sampled) if len(curve.times_s)]


def _sampled(recording: Recording) -> list[Curve]:
    samples = {name: recording.samples_AU[:, n] for n, name in enumerate(SAMPLED)}
    times = samples["time_s"]
    found = [Curve("memory", "MiB", times, samples["rss_bytes"] / _MIB)]
    if len(times) > 1:
        lengths = np.maximum(np.diff(times), 1e-9)
        cores, disk = np.diff(samples["cpu_s"]), np.diff(samples["disk_bytes"])
        found += [
            Curve("cores", "in use", times[:-1], np.maximum(cores, 0) / lengths),
            Curve("disks", "MiB/s", times[:-1], np.maximum(disk, 0) / lengths / _MIB),
        ]
    return [
        *found,
        Curve("GPU", "%", times, samples["gpu_percent"]),
        Curve("GPU memory", "MiB", times, samples["gpu_bytes"] / _MIB),
    ]


def _known(curve: Curve) -> Curve:
    fine = np.isfinite(curve.values)
    return curve._replace(times_s=curve.times_s[fine], values=curve.values[fine])


def _ns(seconds: FloatArray) -> IntArray:
    """Return whole nanoseconds: so that what touches still touches."""
    return np.rint(seconds * 1e9).astype(np.int64)


def _event(name: str, pid: int, tid: int, begin_ns: int, end_ns: int, **more: int) -> Event:
    event: Event = {"ph": "X", "name": name, "pid": pid, "tid": tid, "ts": begin_ns / 1e3,
                    "dur": (end_ns - begin_ns) / 1e3}  # fmt: skip
    return {**event, "args": more} if more else event
