"""Samples of one shape kept on the disk, as a dataset in any of the four modes."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from chirpid.data.general.adapt import is_columns
from chirpid.data.general.bad_rows import BadRows, rows_left
from chirpid.data.general.choice import chosen
from chirpid.data.general.columns import Columns, Layout
from chirpid.data.general.items import BatchItems, window_of
from chirpid.data.general.trees import Tree
from chirpid.data.tensors.build import about_of, begin, build_store, key_of
from chirpid.data.tensors.draws import form_unmoved, refuse_draws
from chirpid.data.tensors.head import Head, fitting, open_head
from chirpid.data.tensors.rows import (
    BlockRows,
    MemoryRows,
    PastCacheRows,
    ReadRows,
    StoreRows,
    bad_rows,
    check_ram,
    loaded_rows,
    mapped_rows,
)
from chirpid.data.wrap.vectorized import VectorizedDataset
from chirpid.errors import ConfigError, StorageError
from chirpid.storage.caches import hold
from chirpid.storage.direct import NoDirectError
from chirpid.storage.parallel import Progress
from chirpid.storage.rowstore import is_complete, verify
from chirpid.types import IntArray, Mode, OnBad

Say = Callable[[str], None]
WINDOW_BYTES = 2**26
"""Blocks that are kept in RAM by default, where rows are read in blocks."""


class TensorStore(BatchItems):
    """Samples in a folder that `TensorStore.write` has made.

    Samples and batches are copies. A slice of a store that is cached or eager is not: `store[a:b]`
    holds views of all its rows, to be read and not written to. What is written there all the same
    stays in this process, and its later batches show it.

    Args:
        mode: `cached` maps the file, and all processes share its pages; `eager` reads all of it
            into RAM and compares it with its checksums; `lazy` reads the rows that are wanted;
            `streaming` reads whole blocks, compares and keeps them: read it in the order of
            `order_rule`.
        layout: what the samples are, where their structure has types of your own. A store knows
            mappings as dicts, and named tuples by their name and fields alone.
        direct: have lazy reads go past the page cache. Where the file system has no such reads, a
            line says so and they are plain ones.
        on_bad: `skip` compares all rows with their checksums now, and leaves out those that
            differ; they are in `bad`.
        window_bytes: of the blocks that are kept at a time.
        budget_bytes: RAM that `eager` may take; by default three quarters of what is free.
        say: told of what is not as asked for; by default that is a warning.

    Raises:
        StorageError: the folder holds no whole store, or damaged rows.
        BudgetError: the mode needs more RAM than it may take.
        ConfigError: a setting is not one of these, or they are at odds.
    """

    thread_safe: ClassVar[bool] = True

    def __init__(
        self,
        folder: str | Path,
        mode: str = "cached",
        *,
        layout: Layout | None = None,
        direct: bool = False,
        on_bad: str = "stop",
        window_bytes: int = WINDOW_BYTES,
        budget_bytes: int | None = None,
        say: Say | None = None,
    ) -> None:
        self.folder, self.mode = Path(folder), chosen(Mode, "mode", mode)
        if direct and self.mode is not Mode.lazy:
            raise ConfigError(f"direct=True reads the rows of mode='lazy'; mode is '{self.mode}'.")
        skips = chosen(OnBad, "on_bad", on_bad) is OnBad.skip
        self._given, self._direct, self._window_bytes = layout, direct, window_bytes
        self._head = fitting(layout, open_head(self.folder), self.folder)
        if self.mode is Mode.eager:
            check_ram(self._head, budget_bytes)
        self.bad: list[BadRows] = self.verify() if skips else []
        """Rows that were left out."""
        self._open(None, say)

    def _open(self, rows: Tensor | None, say: Say | None) -> None:
        """Begin to read; `rows` are those in RAM if they are there already."""
        self.layout, layout = self._head.layout, self._head.rows
        self._left = rows_left(layout.num_rows, [(bad.first, bad.end) for bad in self.bad])
        self._num_rows = layout.num_rows if self._left is None else len(self._left)
        self.block_rows = layout.chunk_rows
        block_bytes = self.block_rows * layout.row_bytes
        self.window_rows = window_of(self.block_rows, block_bytes, self._window_bytes)
        with ExitStack() as held:
            _hold(self.folder, held)
            self._rows: StoreRows | None = self._way(rows, say)
            held.callback(self._rows.close)
            # Also of a store that nobody closes.
            self._end = weakref.finalize(self, held.pop_all().close)

    def _way(self, rows: Tensor | None, say: Say | None) -> StoreRows:
        if rows is not None:
            return MemoryRows(self._head.packing, rows)
        if self.mode is Mode.eager:
            return loaded_rows(self.folder, self._head, check=not self.bad)
        if self.mode is Mode.cached or not self._head.rows.num_bytes:
            return mapped_rows(self.folder, self._head)
        if self.mode is Mode.streaming:
            return BlockRows(self.folder, self._head, self._window_bytes)
        if self._direct:
            try:
                return PastCacheRows(self.folder, self._head)
            except NoDirectError as error:
                (say or warnings.warn)(f"direct=True -> plain reads: {error}")
        return ReadRows(self.folder, self._head)

    @classmethod
    def write(
        cls,
        folder: str | Path,
        source: Any,
        *,
        key: str | None = None,
        overwrite: bool = False,
        freeze: bool = False,
        num_workers: int | None = None,
        progress: Progress | None = None,
        say: Say | None = None,
    ) -> TensorStore:
        """Write the samples of a dataset into a folder, and return the store.

        What a stopped writing has done is kept, if the fingerprint of the source, or its key, is
        the same. Of several processes that write the same one writes, and the others wait for it.

        Args:
            source: a dataset of samples of one shape; or columns, as `VectorizedDataset` takes.
            key: a text that changes with the content, for a source without a fingerprint.
            overwrite: replace a store of other content.
            freeze: keep one draw of a dataset that draws random numbers.
            num_workers: threads for a dataset that is `thread_safe`, else worker processes.
            progress: told of rows.

        Raises:
            DataError: samples differ in structure, type or shape, or hold what is no number.
            ConfigError: the dataset draws random numbers.
            BudgetError: the disk has too little space.
            StorageError: the folder holds something else, or cannot be written.
        """
        columns = isinstance(source, Columns) or is_columns(source)
        dataset = VectorizedDataset(source) if columns else source
        layout = form_unmoved(dataset)
        head, folder = Head.of(layout, len(dataset), key_of(dataset, key)), Path(folder)
        begin(folder, head, overwrite=overwrite)
        if not freeze and not is_complete(folder, head.rows):
            refuse_draws(dataset, layout, "TensorStore.write")
        about = about_of(dataset, head)
        build_store(folder, head, dataset, about=about, num_workers=num_workers,
                    progress=progress, say=say)  # fmt: skip
        return cls(folder, layout=layout)

    def __len__(self) -> int:
        return self._num_rows

    def __getitem__(self, index: Any) -> Tree:
        """Return a sample; or for a slice columns, in the structure of a sample."""
        is_view = isinstance(index, slice) and (index.step is None or index.step > 0)
        if is_view and self._left is None and isinstance(self._rows, MemoryRows):
            return self._rows.columns[index].tree()
        return super().__getitem__(index)

    def read_into(self, ids: IntArray, out: Columns) -> None:
        """Write sample `ids[i]` into row i of `out`, which has as many rows as there are ids.

        Raises:
            IndexError: an id is not that of a sample.
            StorageError: the rows are not in the file any more, or damaged.
        """
        ids = self._checked(ids)
        self._of_open().into(ids if self._left is None else self._left[ids], out)

    def _of_open(self) -> StoreRows:
        if self._rows is None:
            raise StorageError(f"The store {self.folder} is closed. Open it again.")
        return self._rows

    def verify(self, *, progress: Progress | None = None) -> list[BadRows]:
        """Return the rows whose chunk differs from its checksum; none in a sound store.

        Args:
            progress: told of chunks.
        """
        chunks = verify(
            self.folder, self._head.rows, num_threads=torch.get_num_threads(), progress=progress
        )
        return bad_rows(self.folder, self._head, chunks)

    def fingerprint(self) -> str:
        """Return what tells the samples from others: that of their source, and what is left out."""
        left_out = "".join(f"-{bad.first}:{bad.end}" for bad in self.bad)
        return f"store-{self._head.fingerprint}{left_out}"

    @property
    def num_block_reads(self) -> int:
        """Blocks that this process has read so far, in mode `streaming`."""
        return self._rows.blocks.num_reads if isinstance(self._rows, BlockRows) else 0

    def close(self) -> None:
        """Release files and memory."""
        self._end()
        self._rows = None

    def __getstate__(self) -> dict[str, Any]:
        # Other processes open the files themselves; rows in RAM go through shared memory.
        rows = self._rows if self.mode is Mode.eager else None
        return {
            "folder": self.folder,
            "mode": self.mode,
            "layout": self._given,
            "bad": self.bad,
            "direct": self._direct,
            "window_bytes": self._window_bytes,
            "rows": rows.rows if isinstance(rows, MemoryRows) else None,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.folder, self.mode, self.bad = state["folder"], state["mode"], state["bad"]
        self._given, self._direct = state["layout"], state["direct"]
        self._window_bytes = state["window_bytes"]
        self._head = fitting(self._given, open_head(self.folder), self.folder)
        self._open(state["rows"], None)


def _hold(folder: Path, held: ExitStack) -> None:
    """Keep a cache from eviction; a folder of the user's own may be one that only can be read."""
    if (folder / "plan.json").exists():
        held.callback(hold(folder).close)
