"""Peers that keep rows in files of their own format, and read them in windows or by index.

Their modules are imported by name, where they are used: they need not be installed, neither to
run the rest nor to check types.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from chirpid.bench.timing import Pass

CHUNK_BYTES = 1 << 26
"""The size of files that all of these recommend."""


def worker_options(num_workers: int) -> dict[str, Any]:
    """Return the arguments of a DataLoader with workers that live on."""
    # Forked beside threads that run FFTs, a worker can inherit a lock that nobody will open.
    return {
        "num_workers": num_workers,
        "persistent_workers": num_workers > 0,
        "multiprocessing_context": "forkserver" if num_workers else None,
    }


def again(loader: Any) -> Pass:
    """Return the pass of a loader that shuffles anew whenever it is iterated over."""

    def run(seed: int) -> Iterator[object]:
        yield from loader

    return run


def stack_tensors(items: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(items)).float()


def stack_arrays(items: Sequence[Any]) -> Tensor:
    return torch.from_numpy(np.stack(items)).float()


def stack_columns(items: Sequence[dict[str, Any]]) -> Tensor:
    return stack_arrays([item["row"] for item in items])


def stack_tuples(items: Sequence[tuple[Any, ...]]) -> Tensor:
    return stack_arrays([item[0] for item in items])


def float_row(batch: Any) -> Tensor:
    row: Tensor = batch["row"]
    return row.float()


def write_litdata(rows: Tensor, folder: Path) -> None:
    """Write chunks of 64 MB."""
    writer = import_module("litdata.streaming.writer").BinaryWriter(
        str(folder), chunk_bytes=CHUNK_BYTES
    )
    for index, row in enumerate(rows):
        writer[index] = row
    writer.done()
    writer.merge(1)


def litdata_loader(folder: Path, batch_size: int, num_workers: int) -> Any:
    """Return LitData's loader: chunks in random order, shuffled within each."""
    litdata = import_module("litdata")
    # In blocks of 256, its default, neighbours would stay together.
    dataset = litdata.StreamingDataset(str(folder), shuffle=True, item_shuffle_window="full")
    options = worker_options(num_workers)
    return litdata.StreamingDataLoader(
        dataset, batch_size=batch_size, collate_fn=stack_tensors, **options
    )


def open_litdata(rows: Tensor, folder: Path, batch_size: int, num_workers: int) -> Pass:
    write_litdata(rows, folder)
    return again(litdata_loader(folder, batch_size, num_workers))


def write_mosaic(rows: Tensor, folder: Path) -> None:
    """Write shards of 64 MB with checksums."""
    shape = ",".join(map(str, rows.shape[1:]))
    kind = f"ndarray:{str(rows.dtype).removeprefix('torch.')}:{shape}"
    with import_module("streaming").MDSWriter(
        out=str(folder), columns={"row": kind}, size_limit=CHUNK_BYTES, hashes=["xxh3_64"]
    ) as writer:
        for row in rows:
            writer.write({"row": row.numpy()})


def mosaic_loader(folder: Path, batch_size: int, num_workers: int) -> Any:
    """Return the loader of MosaicML streaming with its default shuffle (py1e)."""
    streaming = import_module("streaming")
    dataset = streaming.StreamingDataset(
        local=str(folder),
        shuffle=True,
        batch_size=batch_size,
        num_canonical_nodes=1,
        validate_hash="xxh3_64",
    )
    return streaming.StreamingDataLoader(
        dataset, batch_size=batch_size, collate_fn=stack_columns, **worker_options(num_workers)
    )


def open_mosaic(rows: Tensor, folder: Path, batch_size: int, num_workers: int) -> Pass:
    write_mosaic(rows, folder)
    return again(mosaic_loader(folder, batch_size, num_workers))


def write_webdataset(rows: Tensor, folder: Path) -> None:
    """Write tar files of 64 MB; at least four, since a worker takes whole ones."""
    folder.mkdir(parents=True)
    per_shard = min(max(1, CHUNK_BYTES // rows[0].nbytes), -(-len(rows) // 4))
    pattern = str(folder / "%05d.tar")
    with import_module("webdataset").ShardWriter(pattern, maxcount=per_shard, verbose=0) as writer:
        for index, row in enumerate(rows):
            writer.write({"__key__": f"{index:09d}", "npy": row.numpy()})


def webdataset_loader(folder: Path, batch_size: int, num_workers: int) -> Any:
    """Return WebDataset's loader: files in random order, a shuffle buffer of 1,000 rows."""
    webdataset = import_module("webdataset")
    shards = sorted(map(str, folder.glob("*.tar")))
    dataset = (
        webdataset.WebDataset(shards, shardshuffle=len(shards), seed=0)
        .shuffle(1000)
        .decode()
        .to_tuple("npy")
        .batched(batch_size, collation_fn=stack_tuples)
    )
    return webdataset.WebLoader(dataset, batch_size=None, **worker_options(num_workers))


def open_webdataset(rows: Tensor, folder: Path, batch_size: int, num_workers: int) -> Pass:
    write_webdataset(rows, folder)
    return again(webdataset_loader(folder, batch_size, num_workers))


def open_datasets(rows: Tensor, folder: Path, batch_size: int, num_workers: int) -> Pass:
    """HF datasets: memory-mapped Arrow, whole batches by index, as its page on torch advises."""
    datasets = import_module("datasets")
    datasets.disable_progress_bars()
    dtype = str(rows.dtype).removeprefix("torch.")
    if rows.dim() == 3:
        kind = datasets.Array2D(tuple(rows.shape[1:]), dtype)
    else:
        kind = datasets.List(datasets.Value(dtype), length=rows.shape[1])
    table = datasets.Dataset.from_dict(
        {"row": list(rows.numpy())}, features=datasets.Features({"row": kind})
    )
    table.save_to_disk(str(folder))
    dataset = datasets.load_from_disk(str(folder)).with_format("torch")
    shuffled = torch.utils.data.RandomSampler(dataset)
    loader = DataLoader(
        dataset,
        sampler=torch.utils.data.BatchSampler(shuffled, batch_size, drop_last=False),
        batch_size=None,
        collate_fn=float_row,
        **worker_options(num_workers),
    )
    return again(loader)
