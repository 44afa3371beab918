"""One work a module: the same rows delivered in several ways."""

from __future__ import annotations

from collections.abc import Callable

from chirpid.bench.material import FORMATS, Bench
from chirpid.bench.timing import Row
from chirpid.bench.works.cached import cached
from chirpid.bench.works.floats import floats
from chirpid.bench.works.folds import folds
from chirpid.bench.works.lazy import lazy
from chirpid.bench.works.overhead import overhead
from chirpid.bench.works.resume import resume
from chirpid.bench.works.train import train_cached, train_lazy_flac
from chirpid.bench.works.transport import transport
from chirpid.types import StoreDtype

Work = Callable[[Bench], list[Row]]

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
}
"""What can be measured, by names that stay."""
