"""A first look at a dataset: what its samples are, what making them takes, what they draw."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chirpid.data.general import generators
from chirpid.data.general.columns import Layout, layout_of
from chirpid.data.general.protocols import MapDataset, getitems
from chirpid.data.general.trees import Tree, leaves_of
from chirpid.errors import DataError
from chirpid.types import IntArray

MOST_SAMPLES = 8
MOST_S = 0.5
"""No further sample is looked at after this; two always are."""


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen."""

    samples: tuple[Tree, ...]
    layout: Layout | None
    """What all of them are; None if they differ, or hold what is no number."""
    sample_s: float
    """Seconds to make one: the median, so that the first, which opens files, does not count."""
    sample_bytes: int
    """Of the largest."""
    draws: bool
    """Making one draws random numbers from Python's, numpy's or torch's own generators."""
    num_bad: int = 0
    """Samples that could not be made, and are left out of the figures."""


def look_at(dataset: MapDataset, *, skips: bool = False, among: IntArray | None = None) -> Look:
    """Return what a few samples, spread over the set, have in common. No generator moves on.

    Args:
        skips: samples that cannot be made do not matter.
        among: the samples that will be asked for; None for all.

    Raises:
        DataError: there are no samples, or none of those looked at could be made.
    """
    if len(dataset) == 0:
        raise DataError("The dataset has no samples. Look at what it was made from.")
    num_samples = len(dataset) if among is None else len(among)
    places = np.unique(np.linspace(0, num_samples - 1, MOST_SAMPLES).astype(np.int64))
    if among is not None:
        places = among[places]
    samples, seconds, num_bad = [], [], 0
    begin = time.perf_counter()
    before = generators.states()
    with generators.put_back():
        for place in places.tolist():
            asked = time.perf_counter()
            try:
                samples += getitems(dataset, [place])  # as for a batch
            except Exception as error:
                if not skips:
                    raise
                num_bad, reason = num_bad + 1, repr(error)
            seconds.append(time.perf_counter() - asked)
            if len(seconds) > 1 and time.perf_counter() - begin > MOST_S and samples:
                break
        drew = bool(before.drawn(generators.states()))
    if not samples:
        raise DataError(f"None of {num_bad} samples could be made. The last: {reason}.")
    return Look(
        samples=tuple(samples),
        layout=layout_of(samples),
        sample_s=float(np.median(seconds)),
        sample_bytes=max(map(bytes_of, samples)),
        draws=drew,
        num_bad=num_bad,
    )


def bytes_of(sample: Tree) -> int:
    """Return about how many bytes a sample takes in a batch."""
    return sum(map(_leaf_bytes, leaves_of(sample)))


def _leaf_bytes(leaf: Any) -> int:
    if isinstance(leaf, Sequence):  # texts and bytes
        return len(leaf)
    num_bytes = getattr(leaf, "nbytes", 8)
    return int(num_bytes) if isinstance(num_bytes, int) else 8
