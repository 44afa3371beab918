"""Memory that worker processes and the caller write to and read: the ring of finished batches."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import tempfile
import weakref
from collections.abc import Callable
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any

import numpy as np
import torch

from chirpid.data.datasets import RowKind
from chirpid.errors import BudgetError
from chirpid.loading.backends.base import Fences, make_fence
from chirpid.loading.hardware import read_machine
from chirpid.types import IntArray, size_text

Say = Callable[[str], None]
PAGE = mmap.ALLOCATIONGRANULARITY
_POPULATE = getattr(mmap, "MAP_POPULATE", 0)


class SharedFile:
    """A file without a name that can grow. Given to a process as it starts, it is the same there.

    On Linux it lies in memory, but not in /dev/shm, whose size a container may have set to 64 MiB.
    Elsewhere, or where the system refuses, it is a file in /dev/shm or the folder for temporary
    files.
    """

    def __init__(self) -> None:
        self.place: Path | None = None
        self._file: Any = None
        if hasattr(os, "memfd_create"):
            with contextlib.suppress(OSError):  # a sandbox may refuse it
                self._file = os.fdopen(os.memfd_create("chirpid"), "r+b", buffering=0)
        if self._file is None:
            shm = Path("/dev/shm")
            self.place = shm if shm.is_dir() else Path(tempfile.gettempdir())
            self._file = tempfile.TemporaryFile(dir=self.place, buffering=0)  # noqa: SIM115
        self.fd = self._file.fileno()
        self.num_bytes = 0
        self.close = weakref.finalize(self, self._file.close)

    def grow(self, num_bytes: int) -> int:
        """Add bytes, all of them really there; return where they begin.

        Raises:
            BudgetError: there is no room. Without this, the first to write would be killed.
        """
        begin, end = self.num_bytes, self.num_bytes + _whole_pages(num_bytes)
        if self.place is None:
            # Asked first: the system hands out memory until it has to kill somebody.
            free, where = read_machine("cpu").free_bytes, "RAM"
        else:
            free, where = shutil.disk_usage(self.place).free, str(self.place)
        if end - begin > free:
            raise BudgetError(
                f"Batches from worker processes need {size_text(end - begin)} of shared memory, "
                f"{where} has {size_text(free)} free. Lower loader.prefetch or loader.batch_size, "
                "give the container more, or use loader.backend=threads."
            )
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.fd, begin, end - begin)
        else:
            os.ftruncate(self.fd, end)
        self.num_bytes = end
        return begin

    def open(self, begin: int, num_bytes: int) -> mmap.mmap:
        """Return the bytes, with their pages in place already where the system can do that."""
        flags = mmap.MAP_SHARED | _POPULATE
        return mmap.mmap(self.fd, _whole_pages(num_bytes), flags=flags, offset=begin)

    def __reduce__(self) -> tuple[Any, ...]:
        return _same_file, (DupFd(self.fd), self.num_bytes)


def _same_file(fd: Any, num_bytes: int) -> SharedFile:
    file = SharedFile.__new__(SharedFile)
    file.fd, file.num_bytes = fd.detach(), num_bytes
    return file


class Region:
    """Slots for batches of at most `batch_size` rows: the ids asked for, and their rows."""

    def __init__(
        self, file: SharedFile, begin: int, *, batch_size: int, spec: RowKind, num_slots: int
    ) -> None:
        self.begin, self.batch_size = begin, batch_size
        ids_bytes, slot_bytes = _slot_sizes(batch_size, spec)
        self.map = file.open(begin, num_slots * slot_bytes)
        # A caller in inference mode would make slots that nobody may write to outside of it.
        with torch.inference_mode(False):
            self.slots: list[Any] = [
                spec.over(self.map, slot * slot_bytes + ids_bytes, batch_size)
                for slot in range(num_slots)
            ]
        self.ids: list[IntArray] = [
            np.frombuffer(self.map, np.int64, count=batch_size, offset=slot * slot_bytes)
            for slot in range(num_slots)
        ]

    @staticmethod
    def num_bytes(batch_size: int, spec: RowKind, num_slots: int) -> int:
        return num_slots * _slot_sizes(batch_size, spec)[1]


def _slot_sizes(batch_size: int, spec: RowKind) -> tuple[int, int]:
    """Return the bytes of the ids and of a slot, in whole pages."""
    ids_bytes = _whole_pages(8 * batch_size)
    return ids_bytes, ids_bytes + _whole_pages(spec.slot_bytes(batch_size))


def _whole_pages(num_bytes: int) -> int:
    return max(1, -(-num_bytes // PAGE)) * PAGE


class SharedRing:
    """The caller's side of the slots. It grows with the batch and never shrinks."""

    def __init__(self, spec: RowKind, *, num_slots: int, pin_memory: bool, say: Say) -> None:
        self.file = SharedFile()
        self.region: Region | None = None
        self._spec, self._num_slots, self._say = spec, num_slots, say
        self._pin = pin_memory
        self._old: mmap.mmap | None = None
        self._fences = Fences(make_fence if pin_memory else None)

    def reserve(self, batch_size: int) -> None:
        """Make sure that every slot holds `batch_size` rows; no worker may be writing.

        Raises:
            BudgetError: there is no room for them.
        """
        if self.region is not None and batch_size <= self.region.batch_size:
            return
        begin = self.file.grow(Region.num_bytes(batch_size, self._spec, self._num_slots))
        self._unpin()  # not before: where there is no room, the slots that there are stay in use
        before = self.region
        self.region = Region(
            self.file, begin, batch_size=batch_size, spec=self._spec, num_slots=self._num_slots
        )
        if before is not None:
            self._drop_old()
            self._old = before.map
        if self._pin:
            self._pin_pages()

    def renew(self, turn: int) -> None:
        """Nothing is lent of memory that others write to: what is kept has to be copied."""

    def slot(self, turn: int) -> Any:
        assert self.region is not None
        return self.region.slots[turn]

    def ids(self, turn: int) -> IntArray:
        """Return where the ids of a slot go, once the device has copied what was in it."""
        assert self.region is not None
        self._fences.wait(turn)
        return self.region.ids[turn]

    def was_used(self, turn: int) -> None:
        """Note that the caller has queued its copies out of a slot, and needs none older."""
        self._fences.was_used(turn)
        self._drop_old()

    def _drop_old(self) -> None:
        if self._old is not None and hasattr(mmap, "MADV_REMOVE"):
            self._old.madvise(mmap.MADV_REMOVE)  # the pages go; the addresses stay while in use
        self._old = None

    def _pin_pages(self) -> None:
        assert self.region is not None
        failed = _cuda_pages(self.region, lock=True)
        if failed:
            self._pin, self._fences = False, Fences(None)
            self._say(
                f"loader.pin_memory true -> false: the batches of worker processes cannot be "
                f"page-locked ({failed})"
            )

    def _unpin(self) -> None:
        self._fences.wait_for_all()
        if self._pin and self.region is not None:
            _cuda_pages(self.region, lock=False)

    def close(self) -> None:
        """Release the memory, once no batch is in use any more."""
        if self.region is not None:
            self._unpin()
            self.region = None
            self.file.close()


def _cuda_pages(region: Region, *, lock: bool) -> str | None:
    """Lock or unlock the pages of a region for a device to copy from; return why not, or None."""
    cuda = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    address = region.ids[0].ctypes.data  # the first byte of all
    if lock:
        failed = cuda.cudaHostRegister(address, len(region.map), 0)
    else:
        failed = cuda.cudaHostUnregister(address)
    return None if int(failed) == 0 else str(failed)
