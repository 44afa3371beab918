"""Samples in HDF5 files, as a dataset in any of the four modes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from chirpid.data.general.bad_rows import BadRows
from chirpid.data.general.choice import chosen
from chirpid.data.general.columns import Columns
from chirpid.data.general.items import BatchItems
from chirpid.data.general.trees import Tree
from chirpid.data.hdf5.fields import Fields, files_of, h5py, names_of
from chirpid.data.hdf5.table import Hdf5Table
from chirpid.data.tensors.modes import in_mode
from chirpid.data.tensors.store import WINDOW_BYTES, Say
from chirpid.storage.parallel import Progress
from chirpid.types import IntArray, Mode, OnBad


class HDF5Dataset(BatchItems):
    """Samples that are rows of datasets in HDF5 files: row i of each of them is sample i.

    Args:
        paths: a file, a pattern such as "parts/*.h5", or a list of them: their rows come one after
            the other.
        fields: a dict, for samples that are dicts: {"x": "/images", "y": "/labels"}; a list of
            names, for dicts by these; a tuple of names, for tuples; one name, for bare tensors;
            None for all datasets of the file, by their names.
        mode: `lazy` reads what is wanted, in whole chunks; `streaming` is the same, to be read in
            the order of `order_rule`, which reads each chunk once in an epoch; `eager` reads all
            into RAM now; `cached` unpacks all into a `TensorStore` once, for all processes and
            runs.
        on_bad: `skip` reads all chunks now and leaves out the rows that cannot be read; they are
            in `bad`. `stop` refuses them when they are wanted.
        window_bytes: chunks that are kept in RAM at a time, by each process.
        cache_root, budget_bytes, num_workers, progress, say: as `in_mode` has them.

    Raises:
        ConfigError: a setting is none of these, or h5py is not installed.
        DataError: a file or a dataset is missing or damaged; or datasets differ in length.
        BudgetError: the mode needs more than it may take.
    """

    def __init__(
        self,
        paths: str | Path | Sequence[str | Path],
        fields: Fields = None,
        mode: str = "lazy",
        *,
        on_bad: str = "stop",
        window_bytes: int = WINDOW_BYTES,
        cache_root: str | Path | None = None,
        budget_bytes: int | None = None,
        num_workers: int | None = None,
        progress: Progress | None = None,
        say: Say | None = None,
    ) -> None:
        h5py()
        self.mode = chosen(Mode, "mode", mode)
        self.table = Hdf5Table(
            files_of(paths),
            fields,
            names_of(fields),
            mode=self.mode,
            skips=chosen(OnBad, "on_bad", on_bad) is OnBad.skip,
            window_bytes=window_bytes,
        )
        """The files themselves."""
        self._rows: Any = self.table
        if self.mode in (Mode.eager, Mode.cached):
            self._rows = in_mode(
                self.table,
                self.mode,
                cache_root=cache_root,
                budget_bytes=budget_bytes,
                num_workers=num_workers,
                progress=progress,
                say=say,
            )
            self.table.close()
        self.layout = self.table.layout
        ordered = self.table if self.mode is not Mode.cached else self._rows
        self.block_rows, self.window_rows = ordered.block_rows, ordered.window_rows

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, index: Any) -> Tree:
        """Return a sample; or for a slice columns, in the structure of a sample."""
        return self._rows[index] if isinstance(index, slice) else super().__getitem__(index)

    @property
    def thread_safe(self) -> bool:
        """Whether threads gain; else worker processes do."""
        return bool(self._rows.thread_safe)

    @property
    def bad(self) -> list[BadRows]:
        """What was left out: files, and rows of their datasets."""
        return self.table.bad

    def read_into(self, ids: IntArray, out: Columns) -> None:
        """Write sample `ids[i]` into row i of `out`, which has as many rows as there are ids.

        Raises:
            IndexError: an id is not that of a sample.
            DataError: rows cannot be read; names them.
        """
        self._rows.read_into(ids, out)

    def check(self, *, progress: Progress | None = None) -> list[BadRows]:
        """Read all chunks, and return the rows that cannot be read; see `Hdf5Table.check`."""
        return self.table.check(progress=progress)

    def fingerprint(self) -> str:
        """Return a text that changes with the content."""
        return self.table.fingerprint()

    @property
    def num_chunk_reads(self) -> int:
        """Chunks that this process has read so far."""
        return self.table.blocks.num_reads

    def close(self) -> None:
        """Release files and memory."""
        self.table.close()
        close = getattr(self._rows, "close", None)
        if close is not None:
            close()
