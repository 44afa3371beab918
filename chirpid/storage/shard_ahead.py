"""Which shards come next: a pass over the batches that stays a bounded way ahead of the reader."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Sequence

import numpy as np

from chirpid.types import IntArray


class Foresight:
    """Names shards in the order of their first use, a bounded number ahead of the reader."""

    def __init__(
        self, batches: Sequence[IntArray], chunk_rows: int, *, kept: int, ahead: int
    ) -> None:
        self._ahead, self._kept = ahead, kept
        self._waiting: dict[int, int] = {}
        self._firsts = self._first_uses(batches, chunk_rows)
        self.again_at = 0.0
        """The batch at which there may be more to name."""

    def _first_uses(
        self, batches: Sequence[IntArray], chunk_rows: int
    ) -> Iterator[tuple[int, int]]:
        recent: OrderedDict[int, None] = OrderedDict()
        for turn, ids in enumerate(batches):
            for shard in np.unique(np.asarray(ids) // chunk_rows).tolist():
                if shard not in recent:
                    yield turn, shard
                recent[shard] = None
                recent.move_to_end(shard)
            while len(recent) > self._kept + self._ahead:
                recent.popitem(last=False)

    def next(self, turn: int) -> list[int]:
        """Return the shards to bring now that batch number `turn` is in use."""
        self._waiting = {s: first for s, first in self._waiting.items() if first > turn}
        found: list[int] = []
        while len(self._waiting) < self._ahead:
            first, shard = next(self._firsts, (-1, -1))
            if shard < 0:
                self.again_at = math.inf
                return found
            found.append(shard)
            if first > turn:
                self._waiting[shard] = first
        self.again_at = min(self._waiting.values())
        return found
