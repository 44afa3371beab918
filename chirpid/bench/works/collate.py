"""`collate-*`: samples that are there as Python objects, put together to batches of 64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import default_collate

from chirpid.bench.limits import LIMIT, copies_on_one_thread
from chirpid.bench.material import Bench
from chirpid.bench.ours import OURS
from chirpid.bench.timing import Case, Pass, Row
from chirpid.bench.truth import Truth
from chirpid.data.collate import DefaultCollator
from chirpid.data.general.columns import layout_of
from chirpid.data.general.fill import fill
from chirpid.data.wrap import PreallocatedBuffer

BASELINE = "torch default_collate"
SHAPES: dict[str, tuple[int, ...]] = {"784": (784,), "64k": (128, 501)}
USUAL_SAMPLES = {"784": 6400, "64k": 512}
Sample = dict[str, Any]
Samples = list[Sample]


def collate(bench: Bench, size: str, kind: str) -> list[Row]:
    """Return the rows of `collate-<size>-<kind>`: dicts of an array or a tensor and a label."""
    work, batch_size = f"collate-{size}-{kind}", bench.batch_size(64)
    samples = bench.samples(USUAL_SAMPLES[size], batch_size=batch_size)
    rows = torch.rand((samples, *SHAPES[size]), generator=torch.Generator().manual_seed(0))
    lists = _lists(rows, kind, batch_size)
    ways: dict[str, Pass] = {
        BASELINE: _each(lists, default_collate),
        OURS: _each(lists, DefaultCollator()),
        f"{OURS} out": _over_earlier(lists),
        f"{OURS} PreallocatedBuffer": _each(
            lists, PreallocatedBuffer(lists[0][0], batch_size).collate
        ),
        f"{OURS} fill": _filled(lists, batch_size),
    }
    cases = [
        Case(work, LIMIT, copies_on_one_thread(rows, batch_size)),
        *(Case(work, name, run) for name, run in ways.items()),
    ]
    return bench.compare(
        cases, truth=Truth.of(rows), baseline=BASELINE, limit=LIMIT, samples=samples
    )


def _lists(rows: Tensor, kind: str, batch_size: int) -> list[Samples]:
    """Return samples as a dataset returns them, each in memory of its own, batch by batch.

    In another order than they were made in: a shuffled batch does not lie in one piece.
    """
    made: Samples = [
        {"x": row.numpy().copy() if kind == "arrays" else row.clone(), "label": number}
        for number, row in enumerate(rows)
    ]
    order = np.random.default_rng(0).permutation(len(made)).tolist()
    return [
        [made[number] for number in order[first : first + batch_size]]
        for first in range(0, len(order), batch_size)
    ]


def _each(lists: list[Samples], collator: Callable[[Samples], Any]) -> Pass:
    def run(seed: int) -> Iterator[object]:
        for samples in lists:
            yield collator(samples)

    return run


def _over_earlier(lists: list[Samples]) -> Pass:
    """Return `DefaultCollator` over the batch before the last, which nobody needs any more."""
    collator = DefaultCollator()
    kept = [collator(lists[0]) for _ in range(2)]

    def run(seed: int) -> Iterator[object]:
        for turn, samples in enumerate(lists):
            yield collator(samples, out=kept[turn % 2])

    return run


def _filled(lists: list[Samples], batch_size: int) -> Pass:
    """Return what `make_loader` does with the samples of a dataset: fills columns that it keeps."""
    layout = layout_of(lists[0])
    assert layout is not None
    slots = [layout.empty(batch_size) for _ in range(2)]

    def run(seed: int) -> Iterator[object]:
        for turn, samples in enumerate(lists):
            batch = slots[turn % 2].first(len(samples))
            fill(samples, layout, batch)
            yield batch.lend()

    return run
