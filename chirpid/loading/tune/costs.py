"""What loading and training cost on this machine, with this set and these settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

PROCESSES_START_S = 2.0
"""Seconds until worker processes work: they import torch."""
SHARED_BYTES_PER_S = 10e9
"""Rate at which a finished batch crosses from a worker process, through shared memory."""
THREAD_HAND_OVER_S = 1e-4
"""Seconds in which a thread is told of a batch and tells that it is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """Seconds, measured. "Core-seconds" are those that a core works; waiting is apart from them."""

    batch_size: int
    """Of the batches that `step_s` and its parts are of."""
    stage_s: Mapping[str, float] = field(default_factory=dict)
    """Core-seconds a sample of making its row from the recording: decode, resample, frontend."""
    read_s: float = 0.0
    """Seconds that a reader waits for the disk for a sample that it never read before."""
    reread_s: float = 0.0
    """The same for a sample that was read before: about 0 where the system keeps files in RAM."""
    disk_s: float = 0.0
    """Seconds that the disk needs for a sample, however many readers ask at once."""
    serial_share: float = 0.0
    """Share of making a row that threads cannot do at once: they wait for Python's lock."""
    gather_s: float = 0.0
    """Seconds a sample of a kept row into a float32 batch, in the calling thread."""
    store_read_s: float = 0.0
    """Seconds a sample of a kept row from the disk that caches are on, past the page cache."""
    write_s: float = 0.0
    """Seconds a sample of writing a kept row to that disk, for good."""
    step_s: float = 0.0
    """Seconds of a training step with nothing else at work: augmentation and transfer included."""
    step_core_s: float = 0.0
    """Core-seconds of that step: little where a GPU does it."""
    free_s: float = 0.0
    """Part of `step_s` in which a GPU works and the thread that trains is free to fetch."""
    eval_s: float = 0.0
    """Seconds of a batch in validation, with nothing else at work."""
    transfer_s: float = 0.0
    """Part of `step_s`: the copy to the device."""
    augment_s: float = 0.0
    """Part of `step_s`: augmentation and normalisation."""
    hand_over_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds a batch that crosses from a worker, by backend."""
    start_s: Mapping[str, float] = field(default_factory=dict)
    """Seconds until the workers of a backend work, by backend."""
    spread: float = 0.0
    """Deviation of the seconds that a row takes, over their mean."""
    step_bytes: int = 0
    """Memory of the GPU that a training step takes at most."""
    pinned_gain: float = 0.0
    """Share of the transfer that page-locked memory saves."""
    num_rows: int = 0
    """Rows that were made to find this out."""

    @property
    def row_core_s(self) -> float:
        """Core-seconds of making a row from its recording."""
        return sum(self.stage_s.values())

    @property
    def step_cores(self) -> float:
        """Cores that a training step keeps busy."""
        return self.step_core_s / self.step_s if self.step_s > 0 else 0.0

    def hand_over(self, backend: str) -> float:
        """Return the seconds of handing over a batch."""
        return self.hand_over_s.get(backend, 0.0)

    def as_json(self) -> dict[str, Any]:
        """Return plain numbers by name."""
        plain = asdict(self)
        return {name: dict(v) if isinstance(v, Mapping) else v for name, v in plain.items()}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Costs:
        """Return what `as_json` gave.

        Raises:
            TypeError, ValueError: it is something else.
        """
        known = {f.name for f in fields(cls)}
        if set(plain) != known:
            raise ValueError("not the costs of this version")
        numbers: dict[str, Any] = {}
        for name, value in plain.items():
            if isinstance(value, Mapping):
                numbers[name] = {str(k): _finite(v) for k, v in value.items()}
            else:
                whole = name in ("batch_size", "num_rows", "step_bytes")
                numbers[name] = int(_finite(value)) if whole else _finite(value)
        if numbers["batch_size"] < 1 or not numbers["step_s"]:
            raise ValueError("a step that takes no time")
        return cls(**numbers)


def _finite(value: object) -> float:
    number = float(value)  # type: ignore[arg-type]
    if not 0 <= number < 1e18:
        raise ValueError(f"{number} is no cost")
    return number
