"""Fetches with threads: decoders, resampling and the front end release the GIL."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import torch

from chirpid.data.datasets import SegmentDataset, as_ids
from chirpid.loading.backends.base import Ring, largest
from chirpid.storage.parallel import wait_for_exit
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
        self._pending: deque[Future[Batch]] = deque()
        self._worker, self._numbers = threading.local(), itertools.count()
        self._native_ids: set[int] = set()
        before = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(
            num_workers, thread_name_prefix="chirpid-load", initializer=self._begin_worker
        )
        # What a worker sets becomes the default of threads that start later, those of autograd
        # included: all workers start here, held together by a barrier, then ours is put back.
        together = threading.Barrier(num_workers)
        wait([self._pool.submit(together.wait) for _ in range(num_workers)])
        torch.set_num_threads(before)

    def _begin_worker(self) -> None:
        self._worker.number = next(self._numbers)
        self._native_ids.add(threading.get_native_id())
        torch.set_num_threads(1)

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        self._stop_fetching()  # what a pass that was left behind still has in work
        self._ring.reserve(largest(batches))
        pending = self._pending
        upcoming = enumerate(map(as_ids, batches))
        try:
            for turn, ids in itertools.islice(upcoming, self._ahead):
                pending.append(self._pool.submit(self._fetch, turn, ids))
            delivered = 0
            while pending:
                batch = pending.popleft().result()
                following = next(upcoming, None)
                if following is not None:
                    pending.append(self._pool.submit(self._fetch, *following))
                yield batch
                self._ring.was_used(delivered)
                delivered += 1
        finally:
            if pending is self._pending:
                self._stop_fetching()

    def _stop_fetching(self) -> None:
        # Slots are used again: nothing may still write into them.
        for future in self._pending:
            future.cancel()
        wait(self._pending)
        self._pending = deque()

    def _fetch(self, turn: int, ids: IntArray) -> Batch:
        inputs, stages = self.dataset.fetch(ids, self._ring.slot(turn))
        return Batch(ids=ids, inputs=inputs, stages=stages, worker=self._worker.number)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        wait_for_exit(self._native_ids)
