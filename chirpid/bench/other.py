"""Other libraries in a comparison, where they are installed: `pip install 'chirpid[bench]'`."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from chirpid.bench import peers
from chirpid.bench.timing import Case


def is_there(library: str) -> bool:
    """Return whether a library is installed."""
    return importlib.util.find_spec(library) is not None


def others(
    work: str, rows: Tensor, folder: Path, batch_size: int, say: Callable[[str], None],
    names: tuple[str, ...] | None = None,
) -> list[Case]:  # fmt: skip
    """Return a case for each of these libraries, or all, that is installed.

    Args:
        rows: [N, *shape] as kept; batches are float32.
        folder: their stores are written below it.
    """
    found = [f"{peer.name} {peer.version}" for peer in peers.installed(names)]
    say(f"  {work}, peers: {', '.join(found) or 'none of them is installed'}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, and said to those who write them
        return peers.peer_cases(rows, folder, batch_size, work=work, names=names)


def tensordict_by_index(work: str, rows: Tensor, batch_size: int) -> list[Case]:
    """Return tensordict indexed by shuffled ids without any loader, its shortest way to a batch."""
    if not is_there("tensordict"):
        return []
    table = importlib.import_module("tensordict").TensorDict({"row": rows}, batch_size=[len(rows)])

    def run(seed: int) -> Iterator[object]:
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        for ids in torch.split(order, batch_size):
            yield table[ids]["row"]

    return [Case(work, "tensordict by index", run)]
