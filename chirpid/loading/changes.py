"""What of a plan can be changed between two batches, and how a change is told."""

from __future__ import annotations

from dataclasses import dataclass, replace

from chirpid.loading.plan import Decision, LoaderPlan, in_flight
from chirpid.types import Backend


@dataclass(frozen=True, slots=True)
class Shape:
    """Who fetches, how many, and how far ahead: what changes no bit of any batch."""

    backend: Backend
    num_workers: int
    prefetch: int

    @property
    def num_batches(self) -> int:
        """Batches that exist at once."""
        return in_flight(self.num_workers, self.prefetch)


def shape_of(plan: LoaderPlan) -> Shape:
    """Return the shape of a plan."""
    return Shape(plan.backend.value, plan.num_workers.value, plan.prefetch.value)


def altered(plan: LoaderPlan, shape: Shape, source: str, reason: str) -> LoaderPlan:
    """Return the plan with another shape; what stays keeps its source and reason."""
    before = shape_of(plan)
    fields: dict[str, object] = {
        name: Decision(getattr(shape, name), source, reason)
        for name in ("backend", "num_workers", "prefetch")
        if getattr(shape, name) != getattr(before, name)
    }
    more = (shape.num_batches - before.num_batches) * plan.batch_bytes
    return replace(plan, **fields, total_bytes=plan.total_bytes + more)  # type: ignore[arg-type]


def as_made(plan: LoaderPlan, name: Backend) -> LoaderPlan:
    """Return the plan as it came to be, where another backend had to take the place of its own."""
    if name is plan.backend.value:
        return plan
    has_workers = name in (Backend.threads, Backend.processes)
    shape = replace(shape_of(plan), backend=name) if has_workers else Shape(name, 0, 1)
    return altered(plan, shape, "machine", f"backend {plan.backend.value.value} could not be had")


def difference(before: Shape, after: Shape) -> str:
    """Return what differs: "num_workers 1 -> 2, prefetch 4 -> 2"; empty if nothing does."""
    parts = []
    for name in ("backend", "num_workers", "prefetch"):
        old, new = getattr(before, name), getattr(after, name)
        if old != new:
            parts.append(f"{name} {getattr(old, 'value', old)} -> {getattr(new, 'value', new)}")
    return ", ".join(parts)
