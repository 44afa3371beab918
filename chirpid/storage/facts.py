"""What a store says about its number type, for people and scripts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RoundingError:
    """How far rows as kept are from the float32 values that they were made of."""

    dtype: str
    unit: str
    """What `worst` and `rms` are in: "dB", or "of full scale" for waveforms; empty for PCEN."""
    num_rows: int
    """Rows that were measured."""
    worst: float
    """The largest difference of a value."""
    rms: float
    """Root of the mean square of the differences."""
    clipped: float
    """Share of the values that lay beyond what the number type can hold."""

    def text(self) -> str:
        """Return the figures for people: "0.21 dB off at most, 0.12 dB rms, nothing clipped"."""
        if self.worst == 0:
            return "exact"
        clipped = f"{self._clipped()} of the values clipped" if self.clipped else "nothing clipped"
        worst, rms = self._told(self.worst), self._told(self.rms)
        return f"{worst} off at most, {rms} rms, {clipped}"

    def short(self) -> str:
        """Return the largest error for a table: "0.21 dB"."""
        if self.worst == 0:
            return "exact"
        return self._told(self.worst) + (f", {self._clipped()} clipped" if self.clipped else "")

    def _told(self, value: float) -> str:
        return f"{value:.2g} {self.unit}".rstrip()

    def _clipped(self) -> str:
        return f"{100 * self.clipped:.2g} %"


def rounding_error(about: object) -> RoundingError | None:
    """Return the error that the facts of a cache hold, or None if they hold none."""
    try:
        return RoundingError(**about["error"])  # type: ignore[index]
    except (KeyError, TypeError):
        return None
