"""Peers that take rows from RAM, imported by name where they are used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from chirpid.bench.peers_disk import again, float_row, worker_options
from chirpid.bench.timing import Pass


class RowSource:
    """Rows as Grain takes them: numpy arrays by index."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows.numpy()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.rows[index]


def stack_floats(items: Sequence[Any]) -> Any:
    return np.stack(items).astype(np.float32, copy=False)


def stack_rows(items: Sequence[tuple[Tensor, ...]]) -> Tensor:
    return torch.stack([item[0] for item in items]).float()


def open_tensordict(rows: Tensor, folder: Path, batch_size: int, num_workers: int) -> Pass:
    """tensordict in RAM: whole batches by index, without collation."""
    table = import_module("tensordict").TensorDict({"row": rows}, batch_size=[len(rows)])
    return again(
        DataLoader(
            table,
            batch_size=batch_size,
            shuffle=True,
            collate_fn=float_row,
            **worker_options(num_workers),
        )
    )


def stateful_loader(rows: Tensor, batch_size: int, num_workers: int) -> Any:
    """Return torchdata's StatefulDataLoader over rows in RAM."""
    kind = import_module("torchdata.stateful_dataloader").StatefulDataLoader
    options = worker_options(num_workers)
    dataset = TensorDataset(rows)
    return kind(dataset, batch_size=batch_size, shuffle=True, collate_fn=stack_rows, **options)


def open_stateful(rows: Tensor, folder: Path, batch_size: int, num_workers: int) -> Pass:
    """StatefulDataLoader over rows in RAM."""
    return again(stateful_loader(rows, batch_size, num_workers))


def open_grain(rows: Tensor, folder: Path, batch_size: int, num_workers: int) -> Pass:
    """Grain over rows in RAM: a shuffled map, batched, read ahead in its 16 threads."""
    map_of = import_module("grain").MapDataset.source(RowSource(rows))

    def run(seed: int) -> Iterator[object]:
        batches = map_of.seed(seed).shuffle().batch(batch_size, batch_fn=stack_floats)
        for batch in batches.to_iter_dataset():
            yield torch.from_numpy(batch)

    return run


class StatefulResume:
    """Makes a StatefulDataLoader anew and takes the batch after the middle of an epoch."""

    def __init__(self, rows: Tensor, batch_size: int, num_workers: int) -> None:
        self.rows, self.batch_size, self.num_workers = rows, batch_size, num_workers
        self._open: list[Any] = []
        loader = stateful_loader(rows, batch_size, num_workers)
        batches = iter(loader)
        for _ in range(max(1, len(loader) // 2)):
            next(batches)
        self.state = loader.state_dict()
        self.expected = next(batches).clone()
        """What must come first after going on."""

    def run(self, seed: int) -> Iterator[object]:
        self.close()  # not within the time that is taken: workers end slowly
        return self._first()

    def _first(self) -> Iterator[object]:
        loader = stateful_loader(self.rows, self.batch_size, self.num_workers)
        loader.load_state_dict(self.state)
        self._open += [loader, iter(loader)]
        yield next(self._open[1])

    def close(self) -> None:
        self._open.clear()
