"""What goes to one run in one request."""

from __future__ import annotations

from dataclasses import dataclass, field

from chirpid.tracking.journal import Event


@dataclass(slots=True)
class Parcel:
    """Parameters, tags and points, gathered from events of the journal."""

    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    metrics: list[tuple[str, float, int, int]] = field(default_factory=list)
    """Name, value, milliseconds since 1970, step."""

    def add(self, event: Event) -> None:
        """Add an event of the kind params, tags, metrics or series."""
        values = event["values"]
        if event["kind"] == "metrics":
            self.metrics += [(n, float(v), event["t"], event["step"]) for n, v in values.items()]
        elif event["kind"] == "series":
            times, steps = event["times"], event["steps"]
            self.metrics += [(name, point, t, s) for name, points in values.items()
                             for point, t, s in zip(points, times, steps, strict=True)
                             if point is not None]  # fmt: skip
        elif event["kind"] == "tags":
            self.tags.update(values)
        else:
            for name, value in values.items():
                self.params.setdefault(name, value)
