"""A decided value, who decided it and why; and how it reads where less was allowed than wanted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Decision(Generic[T]):
    """A value, who decided it, and why."""

    value: T
    source: str
    """Who decided: `override` (the user), `probe` (a measurement), `policy`, `profile`, `dataset`,
    `machine`; or `clamp`, which allowed less than one of these wanted. While a run goes on,
    `loader.adapt` and `memory.guard` decide anew."""
    reason: str
    wanted: T | None = None
    """What a clamp did not allow."""

    def line(self, name: str) -> str | None:
        """Return "name wanted -> value: reason" of a clamp, else None."""
        if self.source != "clamp":
            return None
        wanted = "" if self.wanted is None else f"{shown(self.wanted)} "
        return f"{name} {wanted}-> {shown(self.value)}: {self.reason}"


def clamped(decision: Decision[T], value: T, reason: str) -> Decision[T]:
    """Return `decision`, or where it differs the clamp to `value`.

    A value that is clamped twice tells what was wanted first, and why it ended where it is.
    """
    if value == decision.value:
        return decision
    wanted = decision.value if decision.wanted is None else decision.wanted
    if value == wanted:  # only what the user asked for is ever raised, and lowered again
        return Decision(value, "override", reason)
    return Decision(value, "clamp", reason, wanted)


def shown(value: object) -> str:
    """Return a value as it is typed on the command line."""
    return str(value).lower() if isinstance(value, bool) else str(value)
