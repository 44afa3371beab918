"""From a plan to a running loader: the one place where loaders are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch

from chirpid.data.datasets import SegmentDataset, TensorDataset
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
        return self.backend.run(batches)

    def close(self) -> None:
        """End workers and release the dataset."""
        self.backend.close()
        self.dataset.close()


def make_loader(
    dataset: SegmentDataset,
    plan: LoaderPlan,
    *,
    device: torch.device,
    timeout_s: float = 120.0,
    say: Say | None = None,
) -> Loader:
    """Return the loader of a plan.

    Worker processes that cannot start are replaced by threads, in one line told to `say`.
    """
    name = plan.backend.value
    pin = plan.pin_memory.value and device.type == "cuda"
    workers, prefetch = plan.num_workers.value, plan.prefetch.value
    if name is Backend.processes:
        problem = workers_can_start(plan.start_method.value)
        if problem:
            name = Backend.threads
            if say:
                say(f"backend processes -> threads: {problem}")
    backend: LoaderBackend
    if name is Backend.device and isinstance(dataset, TensorDataset):
        backend = DeviceBackend(dataset, device)
    elif name is Backend.threads:
        backend = ThreadsBackend(dataset, num_workers=workers, prefetch=prefetch, pin_memory=pin)
    elif name is Backend.processes:
        backend = ProcessesBackend(
            dataset,
            num_workers=workers,
            prefetch=prefetch,
            pin_memory=pin,
            persistent=plan.persistent_workers.value,
            start_method=plan.start_method.value,
            timeout_s=timeout_s,
        )
    else:
        backend = InlineBackend(dataset, pin_memory=pin)
    return Loader(dataset, backend, name)
