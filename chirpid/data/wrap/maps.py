"""Memory for a table that the system hands out page by page, as rows are written to it."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
import weakref
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import torch

from chirpid.data.general.columns import Columns, Layout
from chirpid.errors import BudgetError
from chirpid.types import size_text

_NO_RESERVE = getattr(mmap, "MAP_NORESERVE", 0)


class TableMap:
    """Memory for rows of a layout, and for a flag for each: of this process, or of several.

    What processes share is theirs from fork, or by being sent to them as they start.

    Raises:
        BudgetError: the place that is to be shared has no room.
    """

    def __init__(self, layout: Layout, num_rows: int, *, shared: bool) -> None:
        self.layout, self.num_rows = layout, num_rows
        self._fd = _shared_file(self._num_bytes) if shared else -1
        self._open()

    def pin(self) -> str | None:
        """Have CUDA lock all pages, which takes all of the memory now; return why it does not.

        torch's own page-locked memory comes in powers of two, which may be twice the bound.
        """
        cuda = torch.cuda.cudart()  # type: ignore[no-untyped-call]
        address = self.flags.ctypes.data - self.layout.slot_bytes(self.num_rows)
        failed = cuda.cudaHostRegister(address, len(self._memory), 0)
        if int(failed):
            return str(failed)
        weakref.finalize(self._memory, cuda.cudaHostUnregister, address)
        return None

    @property
    def _num_bytes(self) -> int:
        return max(1, self.layout.slot_bytes(self.num_rows) + self.num_rows)

    def _open(self) -> None:
        if self._fd < 0:
            flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _NO_RESERVE
            memory = mmap.mmap(-1, self._num_bytes, flags=flags)
        else:
            memory = mmap.mmap(self._fd, self._num_bytes, flags=mmap.MAP_SHARED)
        self._memory = memory
        # A caller in inference mode would make a table that nobody may write to outside of it.
        with torch.inference_mode(False):
            self.columns: Columns = self.layout.over(memory, 0, self.num_rows)
            flags_at = self.layout.slot_bytes(self.num_rows)
            self.flags = torch.frombuffer(
                memory, dtype=torch.bool, count=self.num_rows, offset=flags_at
            ).numpy()

    def __getstate__(self) -> dict[str, Any]:
        return {"layout": self.layout, "num_rows": self.num_rows, "file": DupFd(self._fd)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.layout, self.num_rows = state["layout"], state["num_rows"]
        self._fd = state["file"].detach()
        self._open()

    def __del__(self) -> None:
        if getattr(self, "_fd", -1) >= 0:
            os.close(self._fd)


def _shared_file(num_bytes: int) -> int:
    """Return a file without a name, of holes alone."""
    if hasattr(os, "memfd_create"):  # not in /dev/shm, whose size a container may have set
        with contextlib.suppress(OSError):  # a sandbox may refuse it
            handle = os.memfd_create("chirpid-table")
            os.ftruncate(handle, num_bytes)
            return handle
    shm = Path("/dev/shm")
    place = shm if shm.is_dir() else Path(tempfile.gettempdir())
    free = shutil.disk_usage(place).free
    if num_bytes > free:  # who writes to a page that is not to be had is killed
        raise BudgetError(
            f"A shared table needs {size_text(num_bytes)} in {place}, which has {size_text(free)} "
            "free. Lower max_memory_usage, or set share=False."
        )
    with tempfile.TemporaryFile(dir=place) as file:
        os.ftruncate(file.fileno(), num_bytes)
        return os.dup(file.fileno())
