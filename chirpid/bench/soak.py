"""Thousands of epochs of a small set: memory, descriptors, threads and children must stay flat."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from chirpid.bench.footprint import MIB, Footprint, footprint
from chirpid.bench.material import Bench, Options
from chirpid.bench.ours import inline, processes, shuffled, threads
from chirpid.bench.report import table
from chirpid.data.datasets import SegmentDataset
from chirpid.data.order import batches_of
from chirpid.loading.backends.base import LoaderBackend
from chirpid.seeds import U64
from chirpid.types import Mode

NUM_SEGMENTS, BATCH_SIZE = 16, 4
NUM_LOOKS = 24
NOISE_BYTES = 3 * MIB // 2
"""Memory of a process wanders by so much without a leak."""
_RARE = 25
"""Loaders that are made anew have so many times fewer epochs: starting a worker takes longer."""
Epoch = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class SoakRow:
    """What a case held at the start, in the middle and at the end."""

    case: str
    epochs: int
    own_mib: tuple[float, float, float]
    rss_mib: tuple[float, float, float]
    fds: tuple[int, int, int]
    threads: tuple[int, int, int]
    children: tuple[int, int, int]
    flat: bool
    """Nothing grew from the second quarter of the epochs to the last, beyond noise."""


def measure(
    folder: Path, *, epochs: int, only: Sequence[str], say: Callable[[str], None]
) -> list[SoakRow]:
    """Return a row per case, or for those in `only`."""
    options = Options(samples=NUM_SEGMENTS, batch_size=BATCH_SIZE, duration_s=0.25)
    bench = Bench(folder, options, say)
    rows = []
    for name in only or CASES:
        num_epochs = max(NUM_LOOKS, epochs // _RARE if name in ANEW else epochs)
        say(f"  {name}: {num_epochs} epochs")
        with ExitStack() as stack:
            rows.append(soak(name, CASES[name](bench, stack), num_epochs))
    return rows


def soak(name: str, epoch: Epoch, num_epochs: int) -> SoakRow:
    """Return what `num_epochs` calls of `epoch` left behind."""
    looks = []
    gc.collect()
    gc.freeze()  # what is there already need not be looked through before every look
    for part in range(NUM_LOOKS):
        for number in range(part * num_epochs // NUM_LOOKS, (part + 1) * num_epochs // NUM_LOOKS):
            epoch(number)
        gc.collect()
        looks.append(footprint())
    gc.unfreeze()

    def three(name: str, scale: int = 1) -> tuple[float, float, float]:
        values = [getattr(look, name) / scale for look in looks]
        return values[0], values[NUM_LOOKS // 2], values[-1]

    def counts(name: str) -> tuple[int, int, int]:
        first, middle, last = three(name)
        return int(first), int(middle), int(last)

    return SoakRow(
        case=name,
        epochs=num_epochs,
        own_mib=three("own_bytes", MIB),
        rss_mib=three("rss_bytes", MIB),
        fds=counts("num_fds"),
        threads=counts("num_threads"),
        children=counts("num_children"),
        flat=is_flat(looks),
    )


def is_flat(looks: Sequence[Footprint]) -> bool:
    """Return whether nothing grew from the second quarter of the looks to the last quarter.

    The first quarter is left out: buffers and pools are made then.
    """
    quarter = len(looks) // 4
    early, late = looks[quarter : 2 * quarter], looks[-quarter:]

    def grown(name: str) -> float:
        before, after = ([getattr(look, name) for look in part] for part in (early, late))
        return float(np.median(after) - np.median(before))

    counts = ("num_fds", "num_threads", "num_children")
    return grown("own_bytes") <= NOISE_BYTES and all(grown(name) <= 0 for name in counts)


def _epochs(backend: LoaderBackend, key_N: U64) -> Epoch:
    def epoch(number: int) -> None:
        ids = shuffled(np.arange(len(key_N)), key_N, seed=0, epoch=number)
        for batch in backend.run(batches_of(ids, BATCH_SIZE)):
            assert len(batch) == BATCH_SIZE

    return epoch


Make = Callable[[SegmentDataset], LoaderBackend]


def _kept(mode: Mode, make: Make) -> Callable[[Bench, ExitStack], Epoch]:
    """Return a case of one loader that lives through all epochs."""

    def case(bench: Bench, stack: ExitStack) -> Epoch:
        recordings = bench.recordings("flac", NUM_SEGMENTS)
        dataset = bench.dataset(mode, recordings)
        stack.callback(dataset.close)
        backend = make(dataset)
        stack.callback(backend.close)
        return _epochs(backend, recordings.segments.key_N)

    return case


def _anew(mode: Mode, make: Make) -> Callable[[Bench, ExitStack], Epoch]:
    """Return a case of a dataset and a loader that are opened and closed with every epoch."""

    def case(bench: Bench, stack: ExitStack) -> Epoch:
        recordings = bench.recordings("flac", NUM_SEGMENTS)

        def epoch(number: int) -> None:
            dataset = bench.dataset(mode, recordings)
            backend = make(dataset)
            _epochs(backend, recordings.segments.key_N)(number)
            backend.close()
            dataset.close()

        return epoch

    return case


def _iterator_left_behind(bench: Bench, stack: ExitStack) -> Epoch:
    recordings = bench.recordings("flac", NUM_SEGMENTS)
    backend = threads(bench.dataset(Mode.eager, recordings), 2)
    stack.callback(backend.close)

    def epoch(number: int) -> None:
        batches: Iterator[object] = backend.run(batches_of(np.arange(NUM_SEGMENTS), BATCH_SIZE))
        next(batches)

    return epoch


CASES: dict[str, Callable[[Bench, ExitStack], Epoch]] = {
    "eager inline": _kept(Mode.eager, inline),
    "eager threads": _kept(Mode.eager, lambda dataset: threads(dataset, 2)),
    "eager processes": _kept(Mode.eager, lambda dataset: processes(dataset, 2)),
    "eager threads stopped midway": _iterator_left_behind,
    "cached inline": _kept(Mode.cached, inline),
    "lazy threads": _kept(Mode.lazy, lambda dataset: threads(dataset, 2)),
    "streaming threads": _kept(Mode.streaming, lambda dataset: threads(dataset, 1)),
    "cached threads made anew": _anew(Mode.cached, lambda dataset: threads(dataset, 2)),
    "cached processes made anew": _anew(Mode.cached, lambda dataset: processes(dataset, 2)),
}
ANEW = tuple(name for name in CASES if name.endswith("made anew"))


def as_json(rows: Sequence[SoakRow]) -> list[dict[str, object]]:
    """Return the rows as they are written."""
    return [asdict(row) for row in rows]


def markdown(rows: Sequence[SoakRow]) -> str:
    """Return the table for a page."""

    def three(values: Sequence[float]) -> str:
        shown = [f"{value:.1f}" if isinstance(value, float) else str(value) for value in values]
        return shown[0] if len(set(shown)) == 1 else " → ".join(shown)

    lines = [
        [row.case, f"{row.epochs:,}", three(row.own_mib), three(row.fds), three(row.threads),
         three(row.children), "yes" if row.flat else "**no**"]
        for row in rows
    ]  # fmt: skip
    columns = ["case", "epochs", "own memory, MiB", "descriptors", "threads", "children", "flat"]
    return table(lines, columns)
