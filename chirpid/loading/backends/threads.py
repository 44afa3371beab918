"""Fetches with threads: decoders, resampling and the front end release the GIL."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch

from chirpid.data.datasets import SegmentDataset
from chirpid.loading.backends.base import Ring, largest
from chirpid.types import Batch, IntArray


class ThreadsBackend:
    """Workers that live as long as the backend; batches come in order."""

    def __init__(
        self,
        dataset: SegmentDataset,
        *,
        num_workers: int,
        prefetch: int,
        pin_memory: bool = False,
    ) -> None:
        self.dataset = dataset
        self._ahead = num_workers * prefetch
        # Two slots more than are in work: those that the caller may still use.
        self._ring = Ring(dataset, num_slots=self._ahead + 2, pin_memory=pin_memory)
        before = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(
            num_workers, thread_name_prefix="chirpid-load", initializer=torch.set_num_threads,
            initargs=(1,),
        )  # fmt: skip
        # The workers' setting is global to MKL; each worker starts here, then ours is put back.
        wait([self._pool.submit(lambda: None) for _ in range(num_workers)])
        torch.set_num_threads(before)

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        self._ring.reserve(largest(batches))
        pending: deque[Future[Batch]] = deque()
        upcoming = iter(enumerate(batches))
        try:
            for turn, ids in upcoming:
                pending.append(self._pool.submit(self._fetch, turn, ids))
                if len(pending) >= self._ahead:
                    break
            while pending:
                batch = pending.popleft().result()
                following = next(upcoming, None)
                if following is not None:
                    pending.append(self._pool.submit(self._fetch, *following))
                yield batch
        finally:
            # Slots are used again: nothing may still write into them.
            for future in pending:
                future.cancel()
            wait(pending)

    def _fetch(self, turn: int, ids: IntArray) -> Batch:
        inputs, stages = self.dataset.fetch(ids, self._ring.slot(turn))
        return Batch(ids=ids, inputs=inputs, stages=stages, worker=0)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
