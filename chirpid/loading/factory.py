"""From a plan to a running loader: the one place where loaders are made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pickle import PicklingError

import torch

from chirpid.data.datasets import BatchSource, TensorDataset
from chirpid.data.general.source import ItemSource
from chirpid.errors import BudgetError, TrainingError
from chirpid.loading.backends.base import LoaderBackend
from chirpid.loading.backends.device import DeviceBackend, columns_of
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.processes import ProcessesBackend, workers_can_start
from chirpid.loading.backends.threads import ThreadsBackend
from chirpid.loading.changes import as_made, difference, shape_of
from chirpid.loading.memory import MemoryGuard
from chirpid.loading.plan import LoaderPlan
from chirpid.types import Backend, Batch, IntArray

Say = Callable[[str], None]
Make = Callable[[BatchSource, LoaderPlan], tuple[Backend, LoaderBackend]]


class Loader:
    """Delivers batches of a dataset. It outlives epochs and folds: those only differ in ids.

    Args:
        make: makes the backend of another plan; without it nothing can be changed.
        plan: what `backend` is.
        guard: looks at the memory between batches.
        say: told of changes.
    """

    def __init__(
        self,
        dataset: BatchSource,
        backend: LoaderBackend,
        name: Backend,
        *,
        make: Make | None = None,
        plan: LoaderPlan | None = None,
        guard: MemoryGuard | None = None,
        say: Say | None = None,
    ) -> None:
        self.dataset = dataset
        self.backend = backend
        self.name = name
        self.plan, self.guard = plan, guard
        self.changes: list[str] = []
        """A line for each change so far."""
        self._make, self._say = make, say
        self._pass: object = None
        self._num_made = 0

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        """Yield one batch per array of ids, in order.

        A batch is valid until the next-but-one is asked for, whatever is changed meanwhile.
        """
        this = self._pass = object()
        turn, made, passing = 0, self._num_made, self._begin(batches)
        while True:
            try:
                batch = next(passing)
            except StopIteration:
                return
            except Exception as error:
                if self.guard is None or not self.guard.relieves(self, error):
                    raise
            else:
                turn += 1
                yield batch
                if self.guard is not None and self.guard.is_due:
                    self.guard.look(self)
            if self._num_made != made:
                assert self._pass is this, "another pass has begun on this loader"
                # The old pass goes with its buffers, before the new one takes any.
                made, passing = self._num_made, self._begin(batches[turn:])

    def _begin(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        passing = self.backend.run(batches)
        if self.dataset.looks_ahead:
            return _told(self.dataset, passing, batches)
        return passing

    def change(self, plan: LoaderPlan, why: str, *, dataset: BatchSource | None = None) -> None:
        """Go on with the backend of another plan, in the midst of a pass or between two.

        The batches that were not yet handed out come from the new one: the same bits in the same
        order. The last two that were handed out stay valid. To be called by the thread that asks
        for the batches.

        Args:
            why: the reason, for the line that is told.
            dataset: the same rows, kept in another way; the old one is closed.
        """
        assert self._make is not None, "it was made without a plan"
        assert self.plan is not None
        before, mode = shape_of(self.plan), self.dataset.mode
        try:
            self.backend.close()  # first: its workers and its buffers make room for the others
            if dataset is not None:
                old, self.dataset = self.dataset, dataset
                old.close()
            self.name, self.backend = self._make(self.dataset, plan)
        except BaseException:  # Ctrl-C, and whoever goes on all the same still gets batches
            self.name, self.backend = Backend.inline, InlineBackend(self.dataset)
            raise
        finally:
            self.plan, self._num_made = as_made(plan, self.name), self._num_made + 1
        moved = [f"mode {mode.value} -> {self.dataset.mode.value}"] if dataset is not None else []
        what = ", ".join([*moved, *filter(None, [difference(before, shape_of(self.plan))])])
        self.changes.append(f"loader: {what or 'made anew'}: {why}")
        if self._say:
            self._say(self.changes[-1])

    def close(self) -> None:
        """End workers and release the dataset."""
        try:
            self.backend.close()
        finally:
            self.dataset.close()


def _told(
    dataset: BatchSource, passing: Iterator[Batch], batches: Sequence[IntArray]
) -> Iterator[Batch]:
    """Yield the batches of a pass, telling the dataset what comes and how far it has come."""
    for turn, batch in enumerate(passing):
        if turn == 0:  # and not before: workers that are forked should find no threads of ours
            dataset.expect(batches)
        dataset.reached(turn)
        yield batch


def make_loader(
    dataset: BatchSource,
    plan: LoaderPlan,
    *,
    device: torch.device,
    timeout_s: float = 120.0,
    say: Say | None = None,
    guard: MemoryGuard | None = None,
) -> Loader:
    """Return the loader of a plan.

    Worker processes that cannot start are replaced by threads, and a device that does not hold
    the set by the calling thread, in one line told to `say`.
    """

    def make(dataset: BatchSource, plan: LoaderPlan) -> tuple[Backend, LoaderBackend]:
        return _backend_of(dataset, plan, device, timeout_s, say)

    name, backend = make(dataset, plan)
    plan = as_made(plan, name)
    return Loader(dataset, backend, name, make=make, plan=plan, guard=guard, say=say)


def _backend_of(
    dataset: BatchSource,
    plan: LoaderPlan,
    device: torch.device,
    timeout_s: float,
    say: Say | None,
) -> tuple[Backend, LoaderBackend]:
    pin = plan.pin_memory.value and device.type == "cuda"
    name, backend = plan.backend.value, None
    if name is Backend.device:
        name, backend = _on_device(dataset, device, say)
    elif name is Backend.processes:
        name, backend = _with_processes(dataset, plan, pin, timeout_s, say)
    if name is Backend.threads:
        name, backend = _with_threads(dataset, plan, pin, say)
    return name, backend or InlineBackend(dataset, pin_memory=pin)


def _with_threads(
    dataset: BatchSource, plan: LoaderPlan, pin: bool, say: Say | None
) -> tuple[Backend, LoaderBackend | None]:
    workers, prefetch = plan.num_workers.value, plan.prefetch.value
    try:
        return Backend.threads, ThreadsBackend(
            dataset, num_workers=workers, prefetch=prefetch, pin_memory=pin
        )
    except RuntimeError as error:  # "can't start new thread": no memory for its stack, or a limit
        if say:
            say(f"backend threads -> inline: {error}")
        return Backend.inline, None


def _on_device(
    dataset: BatchSource, device: torch.device, say: Say | None
) -> tuple[Backend, LoaderBackend | None]:
    problem = f"mode={dataset.mode.value} does not hold the set in one piece"
    if isinstance(dataset, TensorDataset) or columns_of(dataset) is not None:
        try:
            return Backend.device, DeviceBackend(dataset, device)
        except torch.OutOfMemoryError:
            problem = f"the set does not fit on {device}"
    if say:
        say(f"backend device -> inline: {problem}")
    return Backend.inline, None


def _with_processes(
    dataset: BatchSource, plan: LoaderPlan, pin: bool, timeout_s: float, say: Say | None
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
        except (
            OSError, PicklingError, AttributeError, TypeError, ValueError, NotImplementedError,
            TrainingError, BudgetError,
        ) as error:  # fmt: skip
            # Of these, the five after the first are what pickle raises for what it cannot send.
            problem = f"workers cannot start ({(str(error) or repr(error)).splitlines()[0]})"
    # A dataset of Python objects may rely on there being one of it in a process.
    alone = isinstance(dataset, ItemSource) and not dataset.for_threads
    instead = Backend.inline if alone else Backend.threads
    if say:
        say(f"backend processes -> {instead.value}: {problem}")
    return instead, None
