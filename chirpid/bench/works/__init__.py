"""One work a module: the same rows delivered in several ways."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from chirpid.bench.material import FORMATS, Bench
from chirpid.bench.timing import Row
from chirpid.bench.works.cached import cached
from chirpid.bench.works.collate import collate
from chirpid.bench.works.floats import floats
from chirpid.bench.works.folds import folds
from chirpid.bench.works.lazy import lazy
from chirpid.bench.works.overhead import overhead
from chirpid.bench.works.resume import resume
from chirpid.bench.works.slices import slices
from chirpid.bench.works.steps import steps
from chirpid.bench.works.train import train_cached, train_lazy_flac
from chirpid.bench.works.transport import transport
from chirpid.bench.works.wrappers import wrap_cached, wrap_prefetch
from chirpid.types import StoreDtype

Work = Callable[[Bench], list[Row]]
_COLLATED = (("784", "arrays"), ("784", "tensors"), ("64k", "arrays"), ("64k", "tensors"))

WORKS: dict[str, Work] = {
    "floats-784": floats,
    "cached-f16": lambda bench: cached(bench, "cached-f16", StoreDtype.float16),
    "cached-f32": lambda bench: cached(bench, "cached-f32", StoreDtype.float32),
    "cached-u8": lambda bench: cached(bench, "cached-u8", StoreDtype.uint8),
    **{f"lazy-{kind}": lambda bench, kind=kind: lazy(bench, kind) for kind in FORMATS},  # type: ignore[misc]
    "transport-16mb": transport,
    "folds-5x4": folds,
    "train-cached": train_cached,
    "train-lazy-flac": train_lazy_flac,
    "resume": resume,
    "overhead": overhead,
    "step-100": lambda bench: steps(bench, "step-100", 100),
    "step-10000": lambda bench: steps(bench, "step-10000", 10_000),
    **{
        f"collate-{size}-{kind}": partial(collate, size=size, kind=kind) for size, kind in _COLLATED
    },
    "wrap-cached": wrap_cached,
    "wrap-prefetch": wrap_prefetch,
    "slices": lambda bench: slices(bench, "slices", reads=False),
    "slices-read": lambda bench: slices(bench, "slices-read", reads=True),
}
"""What can be measured, by names that stay."""
