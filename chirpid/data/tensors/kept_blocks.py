"""Blocks of rows that were read whole, the last used ones of them kept."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable

from torch import Tensor


class KeptBlocks:
    """Keeps blocks up to a number of bytes, and the newest one whatever its size.

    May be used by many threads at once: of those that want a block that is not there, one reads it.
    """

    def __init__(self, num_bytes: int) -> None:
        self.num_bytes = num_bytes
        self.num_reads = 0
        """Blocks that were read so far, by this process."""
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._reading: dict[Hashable, threading.Lock] = {}
        self._blocks: OrderedDict[Hashable, Tensor] = OrderedDict()
        self._held = 0
        self._pid = os.getpid()  # last: whoever finds it finds the rest

    def __contains__(self, key: Hashable) -> bool:
        return self._pid == os.getpid() and key in self._blocks

    def get(self, key: Hashable, read: Callable[[], Tensor]) -> Tensor:
        """Return a block, which `read` makes if it is not kept."""
        if self._pid != os.getpid():  # a thread of the parent may have held the locks at the fork
            self._begin()
        with self._lock:
            if (block := self._used(key)) is not None:
                return block
            turn = self._reading.setdefault(key, threading.Lock())
        with turn:
            with self._lock:
                if (block := self._used(key)) is not None:  # another thread was first
                    return block
            try:
                block = read()
                with self._lock:
                    self._keep(key, block)
            finally:
                with self._lock:
                    self._reading.pop(key, None)
            return block

    def _used(self, key: Hashable) -> Tensor | None:
        block = self._blocks.get(key)
        if block is not None:
            self._blocks.move_to_end(key)
        return block

    def _keep(self, key: Hashable, block: Tensor) -> None:
        self.num_reads += 1
        self._blocks[key] = block
        self._held += block.nbytes
        while self._held > self.num_bytes and len(self._blocks) > 1:
            _, old = self._blocks.popitem(last=False)
            self._held -= old.nbytes

    def clear(self) -> None:
        """Let go of all blocks."""
        self._begin()
