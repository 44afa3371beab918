"""Segments on a memory map of a store on the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from chirpid.data.datasets.tensor import TensorDataset
from chirpid.data.kept import RowSpec
from chirpid.storage.caches import hold
from chirpid.storage.locks import FileLock
from chirpid.storage.rowstore import RowLayout, open_rows
from chirpid.types import Mode


class CachedDataset(TensorDataset):
    """Rows on a memory map of a whole store, kept from eviction while open."""

    def __init__(self, spec: RowSpec, folder: Path, layout: RowLayout) -> None:
        super().__init__(spec, open_rows(folder, layout), Mode.cached)
        self.folder, self.layout = folder, layout
        self._use: FileLock | None = hold(folder)

    def close(self) -> None:
        self.rows = self.rows.new_empty((0, *self.spec.shape))
        if self._use:
            self._use.close()
            self._use = None

    def __getstate__(self) -> dict[str, Any]:
        # Another process maps the file itself: a pickled map would be a copy of all of it.
        return {"spec": self.spec, "folder": self.folder, "layout": self.layout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]
