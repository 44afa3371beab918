"""Other libraries at the work of our loaders: kept rows to shuffled float32 batches.

Each is set up as its own documentation advises, once with all work in the calling process and once
with two workers where it has workers; the better of the two is what it can do. One that is not
installed is left out (`pip install "chirpid[bench]"`, in an environment of its own).
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from chirpid.bench import peers_disk, peers_ram
from chirpid.bench.timing import Case, Pass

Open = Callable[[Tensor, Path, int, int], Pass]
"""Called with rows, an empty folder, batch size and workers; writes its store, opens its loader."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A library that delivers batches."""

    name: str
    module: str
    distribution: str
    open: Open
    workers: tuple[int, ...] = (0, 2)

    @property
    def is_installed(self) -> bool:
        return find_spec(self.module) is not None

    @property
    def version(self) -> str:
        return metadata.version(self.distribution)


PEERS = (
    Peer("LitData", "litdata", "litdata", peers_disk.open_litdata),
    Peer("MosaicML streaming", "streaming", "mosaicml-streaming", peers_disk.open_mosaic),
    Peer("WebDataset", "webdataset", "webdataset", peers_disk.open_webdataset),
    Peer("HF datasets", "datasets", "datasets", peers_disk.open_datasets),
    Peer("tensordict", "tensordict", "tensordict", peers_ram.open_tensordict, (0,)),
    Peer("StatefulDataLoader", "torchdata", "torchdata", peers_ram.open_stateful),
    # Grain reads ahead in threads of its own; its worker processes need a program of absl's kind.
    Peer("Grain", "grain", "grain", peers_ram.open_grain, (0,)),
)
STREAMS = ("LitData", "MosaicML streaming", "WebDataset", "HF datasets")
"""Those that read what is larger than RAM."""


def installed(names: Sequence[str] | None = None) -> list[Peer]:
    """Return the peers of these names, or all, that can be imported here."""
    return [peer for peer in PEERS if (names is None or peer.name in names) and peer.is_installed]


def peer_cases(
    rows: Tensor,
    folder: Path,
    batch_size: int,
    *,
    work: str = "cached-f16",
    names: Sequence[str] | None = None,
    workers: Sequence[int] = (0, 2),
) -> list[Case]:
    """Return a case for each installed peer and number of workers.

    Args:
        rows: [N, ...] as kept, float16 or float32; batches are float32.
        folder: stores are written below it, each of the size of `rows`.
        names: of the peers; None takes all.
    """
    cases = []
    for peer in installed(names):
        for num_workers in (count for count in peer.workers if count in workers):
            slug = f"{peer.module}-{num_workers}"
            name = f"{peer.name}, {num_workers} workers" if num_workers else peer.name
            loader = _Loader(peer.open(rows, folder / "peers" / slug, batch_size, num_workers))
            cases.append(Case(work, name, loader.run, loader.close))
    return cases


class _Loader:
    """An open loader, which goes when it is closed: its workers end with it."""

    def __init__(self, one_pass: Pass) -> None:
        self._one_pass: Pass | None = one_pass

    def run(self, seed: int) -> Iterator[object]:
        assert self._one_pass is not None, "closed"
        torch.manual_seed(seed)
        return self._one_pass(seed)

    def close(self) -> None:
        self._one_pass = None
        gc.collect()


def resume_cases(rows: Tensor, batch_size: int, *, work: str = "resume") -> list[Case]:
    """Return the cases of a loader that is made anew and goes on in the middle of an epoch.

    The one batch of a pass is the first after that. Only StatefulDataLoader is timed: it is the
    one with the promise of torch's own loader, and it needs the number of workers to be the same.
    """
    if not installed(["StatefulDataLoader"]):
        return []
    cases = []
    for num_workers in (0, 2):
        name = f"StatefulDataLoader, {num_workers} workers" if num_workers else "StatefulDataLoader"
        resume = peers_ram.StatefulResume(rows, batch_size, num_workers)
        cases.append(Case(work, name, resume.run, resume.close))
    return cases
