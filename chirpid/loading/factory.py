"""From a plan to a running loader: the one place where loaders are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pickle import PicklingError

import torch

from chirpid.data.datasets import SegmentDataset, TensorDataset
from chirpid.errors import TrainingError
from chirpid.loading.backends.base import LoaderBackend
from chirpid.loading.backends.device import DeviceBackend
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.processes import ProcessesBackend, workers_can_start
from chirpid.loading.backends.threads import ThreadsBackend
from chirpid.loading.plan import LoaderPlan
from chirpid.types import Backend, Batch, IntArray

Say = Callable[[str], None]


class Loader:
    """Delivers batches of a dataset. It outlives epochs and folds: those only differ in ids."""

    def __init__(self, dataset: SegmentDataset, backend: LoaderBackend, name: Backend) -> None:
        self.dataset = dataset
        self.backend = backend
        self.name = name

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        """Yield one batch per array of ids, in order.

        A batch is valid until the next-but-one is asked for.
        """
        passing = self.backend.run(batches)
        if self.dataset.looks_ahead:
            return _told(self.dataset, passing, batches)
        return passing

    def close(self) -> None:
        """End workers and release the dataset."""
        try:
            self.backend.close()
        finally:
            self.dataset.close()


def _told(
    dataset: SegmentDataset, passing: Iterator[Batch], batches: Sequence[IntArray]
) -> Iterator[Batch]:
    """Yield the batches of a pass, telling the dataset what comes and how far it has come."""
    for turn, batch in enumerate(passing):
        if turn == 0:  # and not before: workers that are forked should find no threads of ours
            dataset.expect(batches)
        dataset.reached(turn)
        yield batch


def make_loader(
    dataset: SegmentDataset,
    plan: LoaderPlan,
    *,
    device: torch.device,
    timeout_s: float = 120.0,
    say: Say | None = None,
) -> Loader:
    """Return the loader of a plan.

    Worker processes that cannot start are replaced by threads, and a device that does not hold
    the set by the calling thread, in one line told to `say`.
    """
    pin = plan.pin_memory.value and device.type == "cuda"
    workers, prefetch = plan.num_workers.value, plan.prefetch.value
    name, backend = plan.backend.value, None
    if name is Backend.device:
        name, backend = _on_device(dataset, device, say)
    elif name is Backend.processes:
        name, backend = _with_processes(dataset, plan, pin, timeout_s, say)
    if name is Backend.threads:
        backend = ThreadsBackend(dataset, num_workers=workers, prefetch=prefetch, pin_memory=pin)
    return Loader(dataset, backend or InlineBackend(dataset, pin_memory=pin), name)


def _on_device(
    dataset: SegmentDataset, device: torch.device, say: Say | None
) -> tuple[Backend, LoaderBackend | None]:
    problem = f"mode={dataset.mode.value} does not hold the set in one piece"
    if isinstance(dataset, TensorDataset):
        try:
            return Backend.device, DeviceBackend(dataset, device)
        except torch.OutOfMemoryError:
            problem = f"the set does not fit on {device}"
    if say:
        say(f"backend device -> inline: {problem}")
    return Backend.inline, None


def _with_processes(
    dataset: SegmentDataset, plan: LoaderPlan, pin: bool, timeout_s: float, say: Say | None
) -> tuple[Backend, LoaderBackend | None]:
    problem = workers_can_start(plan.start_method.value)
    if problem is None:
        try:
            return Backend.processes, ProcessesBackend(
                dataset,
                num_workers=plan.num_workers.value,
                prefetch=plan.prefetch.value,
                pin_memory=pin,
                persistent=plan.persistent_workers.value,
                start_method=plan.start_method.value,
                timeout_s=timeout_s,
                say=say,
            )
        except (OSError, PicklingError, AttributeError, TypeError, TrainingError) as error:
            # Of these, the middle three are what pickle raises for what it cannot send.
            problem = f"workers cannot start ({(str(error) or repr(error)).splitlines()[0]})"
    if say:
        say(f"backend processes -> threads: {problem}")
    return Backend.threads, None
