"""Another plan between two passes over any dataset, where the figures of the last ask for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from chirpid.data.datasets import BatchSource
from chirpid.data.general.source import ItemSource, ReaderSource
from chirpid.loading.adapt import Adapter, Limits, Seen
from chirpid.loading.backends.processes import workers_can_start
from chirpid.loading.changes import Shape, altered, shape_of
from chirpid.loading.choose_backend import HAND_OVER_S, choose_persistence, choose_start
from chirpid.loading.factory import Loader, Say
from chirpid.loading.inputs import Case, Items, Traits, Wish
from chirpid.loading.main_module import why_only_fork
from chirpid.loading.plan import LoaderPlan
from chirpid.loading.universal.loader import UniversalLoader
from chirpid.loading.universal.planning import Place
from chirpid.types import Backend

OPEN = ("dataset", "machine")
"""Who chose the calling thread where that may change: neither the user nor a budget did."""
INLINE = Shape(Backend.inline, 0, 1)
NO_PROCESS = Shape(Backend.processes, 0, 2)
"""The calling thread, as what a first process is added to."""


class PassAdapter(Adapter):
    """Changes the plan of a loader of any dataset between passes, as `Adapter` decides.

    Threads are only given to a dataset that may be asked by several; a backend that the user named
    stays. Where a change cannot be had, the loader goes back to what it was.

    Args:
        planned: what the loader was to be; where that could not be had, no other backend is tried.
        case: what the plan follows from.
    """

    def __init__(
        self, loader: Loader, planned: LoaderPlan, case: Case, limits: Limits, say: Say
    ) -> None:
        self._told = say
        self.verdicts: list[str] = []
        """A line for each change that was kept: what it brought."""
        super().__init__(loader, limits, may_grow=self._has_room, say=self._conclude)
        self._loader, self._case = loader, case
        was_chosen = planned.backend.value is Backend.inline and planned.backend.source in OPEN
        self._may_leave_inline = was_chosen
        self._batch_wait_s = 0.0

    def epoch_done(self, figures: Mapping[str, float], *, seconds: float, num_batches: int) -> None:
        self._batch_wait_s = figures.get("loader/wait_ms_mean", 0.0) / 1e3
        super().epoch_done(figures, seconds=seconds, num_batches=num_batches)

    def _has_room(self) -> bool:
        guard = self._loader.guard
        return guard is None or not guard.has_stepped

    def _conclude(self, line: str) -> None:
        self.verdicts.append(_of_samples(line))
        self._told(self.verdicts[-1])

    def _try_next(self, seen: Seen, now: Shape) -> None:
        if now.backend is Backend.inline:
            if not self._may_leave_inline:
                return
            if not may_use_threads(self._loader.dataset):
                if not self._may_use_processes():
                    return
                now = NO_PROCESS
        super()._try_next(seen, now)

    def _may_use_processes(self) -> bool:
        start = choose_start(self._case, Backend.processes).value
        # Starting them is not free: not for batches that are handed over as slowly as made.
        return self._batch_wait_s >= HAND_OVER_S and workers_can_start(start) is None

    def _go_to(self, shape: Shape, why: str) -> None:
        before = self._loader.plan
        assert before is not None
        shape = INLINE if shape == NO_PROCESS else shape
        after = altered(before, shape, "loader.adapt", _of_samples(why))
        if shape.backend is not before.backend.value:
            after = replace(
                after,
                persistent_workers=choose_persistence(self._case, shape.backend),
                start_method=choose_start(self._case, shape.backend),
            )
        if not self._could_be_had(after, _of_samples(why)):
            self._trial = None
            # What stands in for it may be what the dataset cannot be asked by.
            if shape_of(self._loader.plan or before) != shape_of(before):
                self._could_be_had(before, "back to what it was")
        self._shape, self._rates = shape_of(self._loader.plan or after), []

    def _could_be_had(self, plan: LoaderPlan, why: str) -> bool:
        try:
            self._loader.change(plan, why)
        except Exception as error:  # noqa: BLE001 - whatever it is, the training goes on without
            self._told(f"loader.adapt: {plan.backend.value} could not be had: {_first_line(error)}")
        return self._loader.name is plan.backend.value


def may_use_threads(source: BatchSource) -> bool:
    """Return whether several threads may fetch from a dataset, as far as that has shown by now."""
    if isinstance(source, ItemSource):
        return source.for_threads and not source.collate_draws
    if not isinstance(source, ReaderSource):
        return False
    return source.is_kept or bool(getattr(source.dataset, "thread_safe", False))


def adapter_of(
    loader: Loader, planned: LoaderPlan, *, place: Place, wish: Wish, device: torch.device, say: Say
) -> PassAdapter:
    """Return what changes the plan of a loader between passes, in the budget it was made with.

    Args:
        planned: what the loader was made by.
        device: where the model is taken to be.
    """
    plan = loader.plan
    assert plan is not None
    source = loader.dataset
    traits = Traits(
        mode=source.mode,
        num_segments=source.num_segments,
        batch_bytes=plan.batch_bytes,
        store_bytes=0,
        items=Items(batch_s=0.0, only_fork=why_only_fork()),
    )
    case = Case(place.machine, place.profile, wish, traits, plan.budget_bytes)
    limits = limits_of(plan, case, grows=_may_grow(source, plan), on_cpu=device.type == "cpu")
    return PassAdapter(loader, planned, case, limits, say)


def limits_of(plan: LoaderPlan, case: Case, *, grows: bool, on_cpu: bool) -> Limits:
    """Return what a changed plan keeps to: the caps and the budget of the one it comes from.

    Args:
        grows: whether there may be more workers than there are.
        on_cpu: the model computes on the CPU.
    """
    profile = case.profile
    caps = [profile.max_workers]
    if case.machine.free_bytes < profile.low_memory_bytes:
        caps.append(profile.max_workers_low_memory)
    if not grows:
        caps.append(plan.num_workers.value)
    held = plan.total_bytes - shape_of(plan).num_batches * plan.batch_bytes
    return Limits(
        num_cores=case.num_cores,
        max_workers=min(caps),
        max_batches=(plan.budget_bytes - held) // max(1, plan.batch_bytes),
        model_on_cpu=on_cpu,
    )


def _may_grow(source: BatchSource, plan: LoaderPlan) -> bool:
    """Threads that the user gave a dataset which does not promise to bear them become no more."""
    return plan.backend.value is not Backend.threads or may_use_threads(source)


def changes_told(loader: UniversalLoader) -> list[str]:
    """Return lines of what was changed while a loader ran, and of what it brought."""
    changes, adapter = loader.loader.changes, loader.adapter
    verdicts = adapter.verdicts if isinstance(adapter, PassAdapter) else []
    if not changes:
        return [] if adapter is None else ["  adapt: nothing was changed so far"]
    return ["changed while it ran:", *(f"  {line}" for line in [*changes, *verdicts])]


def _of_samples(line: str) -> str:
    # The adapter was written for recordings, which are cut into segments.
    return line.replace("segments/s", "samples/s")


def _first_line(error: Exception) -> str:
    return (str(error) or repr(error)).splitlines()[0]
