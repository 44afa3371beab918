"""Fetches with the worker processes of torch: for work that holds the GIL."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset, Sampler, get_worker_info

from chirpid.data.datasets import SegmentDataset, as_ids
from chirpid.errors import ChirpError, TrainingError
from chirpid.loading.backends.deaths import waiting_for_workers
from chirpid.types import Batch, IntArray, StartMethod


class _Batches(Sampler[IntArray]):
    """The batches of the next pass. It lives in the caller, so that workers outlive passes."""

    def __init__(self) -> None:
        self.batches: Sequence[IntArray] = ()

    def __iter__(self) -> Iterator[IntArray]:
        return map(as_ids, self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class _ByBatch(Dataset[object]):
    """Item i is the whole batch of ids i."""

    def __init__(self, dataset: SegmentDataset) -> None:
        self.dataset = dataset

    def __getitem__(self, ids: Any) -> object:
        try:
            inputs, stages = self.dataset.fetch(ids)
        except ChirpError as error:
            # As a value: raised in a worker it would arrive wrapped in a traceback of text.
            return _portable(error)
        info = get_worker_info()
        return ids, inputs, stages, info.id if info else -1


class ProcessesBackend:
    """Workers that live as long as the backend; one BLAS thread each."""

    def __init__(
        self,
        dataset: SegmentDataset,
        *,
        num_workers: int,
        prefetch: int,
        pin_memory: bool = False,
        persistent: bool = True,
        start_method: StartMethod = StartMethod.forkserver,
        timeout_s: float = 120.0,
    ) -> None:
        self._batches = _Batches()
        self._loader: DataLoader[object] | None = DataLoader(
            _ByBatch(dataset),
            sampler=self._batches,
            batch_size=None,
            num_workers=num_workers,
            prefetch_factor=prefetch,
            pin_memory=pin_memory,
            persistent_workers=persistent,
            timeout=timeout_s,
            multiprocessing_context=start_method.value,
            collate_fn=_as_it_is,
            worker_init_fn=_ignore_interrupt,
            # Its own: the loader's seed must not be drawn from the stream that dropout uses.
            generator=torch.Generator(),
        )
        if persistent:
            # Now, so that a system without room for them is found where threads can still be had.
            for _ in self.run([]):
                raise AssertionError("no batch was asked for")

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        assert self._loader is not None, "the backend is closed"
        self._batches.batches = batches
        items = self._items(self._loader)
        for item in items:
            if isinstance(item, ChirpError):
                raise item
            ids, inputs, stages, worker = item
            yield Batch(ids=ids, inputs=inputs, stages=stages, worker=worker)

    def _items(self, loader: DataLoader[object]) -> Iterator[Any]:
        iterator: Iterator[object] | None = None
        while True:
            try:
                with waiting_for_workers():
                    iterator = iter(loader) if iterator is None else iterator
                    item = next(iterator)
            except StopIteration:
                return
            except (RuntimeError, OSError, EOFError) as error:
                explained = _explain(error)
                if explained is None:
                    raise
                self._end_workers(iterator)
                raise explained from error
            yield item

    def _end_workers(self, iterator: Any = None) -> None:
        """End the workers of `iterator`, or those that outlive passes."""
        if self._loader is None:
            return
        iterator = iterator or self._loader._iterator
        if iterator is not None:
            iterator._shutdown_workers()
        self._loader._iterator = None  # the next pass starts new ones

    def close(self) -> None:
        """End the processes."""
        self._end_workers()
        self._loader = None


def _ignore_interrupt(_worker: int) -> None:
    # Ctrl-C reaches the whole process group; the caller ends its workers when it is ready.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(item: object) -> object:
    return item


def _portable(error: ChirpError) -> ChirpError:
    """Return an error with the same line that can be pickled whatever its class takes."""
    kind = next(c for c in type(error).__mro__ if c.__module__ == ChirpError.__module__)
    assert issubclass(kind, ChirpError)
    return kind(str(error))


def _explain(error: Exception) -> TrainingError | None:
    text = str(error)
    if isinstance(error, (ConnectionError, EOFError, FileNotFoundError)):
        # It was killed while its batch was on the way: the channel broke before the word came.
        text = f"exited unexpectedly: {text}"
    if "Bus error" in text:
        return TrainingError(
            "A loader worker died: shared memory (/dev/shm) is full. Lower loader.prefetch or "
            "loader.batch_size, give the container more (docker run --shm-size), or use "
            "loader.backend=threads."
        )
    if "exited unexpectedly" in text or "killed by signal" in text:
        return TrainingError(
            f"A loader worker died ({text.splitlines()[0].rstrip('. ')}). If memory ran out, lower "
            "loader.num_workers or loader.prefetch, or use loader.backend=threads."
        )
    if "timed out" in text:
        return TrainingError(
            "No batch came from the loader workers within loader.timeout_s. "
            "Raise it, or use loader.backend=threads."
        )
    if "Too many open files" in text:
        return TrainingError(
            "Too many open files in the loader workers. Raise the limit (ulimit -n), or use "
            "loader.backend=threads."
        )
    return None


def workers_can_start(start_method: StartMethod) -> str | None:
    """Return why worker processes cannot start here, or None."""
    if start_method.value not in torch.multiprocessing.get_all_start_methods():
        return f"this system has no start method {start_method.value}"
    try:
        torch.multiprocessing.get_context(start_method.value).Lock()
    except (OSError, ImportError) as error:
        return f"shared semaphores do not work here ({error})"
    return None
