"""Write a store of samples: whole or not at all, by any number of processes at once."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from chirpid.data.tensors.head import NAME, Head, read_head
from chirpid.data.tensors.making import SampleMaker
from chirpid.data.tensors.packing import Packing
from chirpid.errors import BudgetError, StorageError
from chirpid.storage.atomic import storage_error, write_text
from chirpid.storage.locks import exclusive
from chirpid.storage.parallel import Progress
from chirpid.storage.rowstore import build, is_complete
from chirpid.types import size_text


def build_store(
    folder: Path,
    head: Head,
    dataset: Any,
    *,
    about: dict[str, object],
    num_workers: int | None = None,
    progress: Progress | None = None,
    say: Callable[[str], None] | None = None,
) -> None:
    """Make sure that `folder`, which has this head, holds the whole store.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
        DataError: a sample is not like the others, or a worker process died.
    """
    if is_complete(folder, head.rows):
        return
    packing = head.packing
    with SampleMaker(dataset, head.layout, num_workers=num_workers) as maker:

        def fill(first: int, end: int, kept: Tensor) -> None:
            _fill(maker, packing, first, end, kept)

        build(
            folder,
            head.rows,
            fill,
            about=about,
            num_threads=maker.num_threads,
            progress=progress,
            say=say,
        )


def _fill(maker: SampleMaker, packing: Packing, first: int, end: int, kept: Tensor) -> None:
    out = packing.layout.empty(end - first)
    maker.fill(first, end, out)
    packing.pack(out, kept)


def begin(folder: Path, head: Head, *, overwrite: bool) -> None:
    """Give a folder its head, before any row is written.

    What another content has left there is removed: rows of it would pass for those of this one.

    Raises:
        StorageError: a whole store of another content is there, or the folder cannot be written.
        BudgetError: the disk has too little space.
    """
    if _is_head(read_head(folder), head):
        return
    try:
        with exclusive(folder / "build.lock"):
            found = read_head(folder)
            if _is_head(found, head):
                return
            _refuse_others(folder, found, overwrite)
            # Without it the rows are no store, so it goes first.
            (folder / "meta.json").unlink(missing_ok=True)
            for name in ("rows.bin", "chunks.bin"):
                (folder / name).unlink(missing_ok=True)  # not emptied: others may have them mapped
            _check_disk(folder, head.rows.num_bytes)
            write_text(folder / NAME, head.text())
    except OSError as error:
        raise storage_error(error, folder) from error


def _is_head(found: Head | None, head: Head) -> bool:
    # As texts: a structure with types of the user's own is read as one of plain types.
    return found is not None and found.text() == head.text()


def _refuse_others(folder: Path, found: Head | None, overwrite: bool) -> None:
    """Refuse a folder with files that are not to be removed."""
    if found is None:
        files = sorted(file.name for file in [*folder.glob("*.bin"), *folder.glob("meta.json")])
        if files:
            raise StorageError(
                f"{folder} holds files that are no store of samples: {', '.join(files[:3])}. "
                "Choose another folder."
            )
    elif is_complete(folder, found.rows) and not overwrite:
        raise StorageError(
            f"{folder} holds a store already, of {found.num_rows} samples of other content. "
            "Choose another folder, or say overwrite=True."
        )


def _check_disk(folder: Path, need_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if need_bytes > free:
        raise BudgetError(
            f"The store needs {size_text(need_bytes)}, the disk of {folder} has {size_text(free)} "
            "free. Choose a folder on another disk."
        )


def key_of(dataset: Any, key: str | None) -> str:
    """Return what tells the content of a dataset from others, or a text that nothing else has."""
    if key is not None:
        return key
    fingerprint = getattr(dataset, "fingerprint", None)
    return str(fingerprint()) if callable(fingerprint) else f"unkeyed-{secrets.token_hex(8)}"


def about_of(dataset: Any, head: Head) -> dict[str, object]:
    """Return what is noted for people beside a store."""
    named = zip(head.layout.names(), head.layout.leaves, strict=True)
    rows = [f"{name} {list(leaf.shape)}".strip() for name, leaf in named]
    dtypes = {str(leaf.dtype).removeprefix("torch.") for leaf in head.layout.leaves}
    return {
        "dataset": type(dataset).__name__,
        "segments": head.num_rows,
        "keep": "samples",
        "leaves": rows,
        "shape": [head.packing.row_bytes],
        "dtype": "bytes" if len(dtypes) > 1 else dtypes.pop(),
        "torch": torch.__version__,
    }
