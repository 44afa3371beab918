"""The figures of several epochs as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

_RATE = "loader/samples_per_s"
_RATES = (_RATE, "loader/bytes_per_s")
_OF_TIME = ("loader/wait_share", "loader/cpu_share", "loader/fetch_cpu_share",
            "loader/others_cores", "loader/queued_threads", "loader/worker_busy_share",
            "loader/worker_busy_share_min", "loader/monitor_share",
            "loader/gpu_percent")  # fmt: skip


def mean_figures(epochs: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the means of figures of epochs that are about as large as each other.

    Rates are those of all epochs in a row, and so are shares of the time: a mean of rates would
    favour the fast epochs, and no epoch was as fast as that for long. A figure that some epochs do
    not have is the mean of the others.
    """
    names = sorted({name for one in epochs for name in one})
    return {name: _mean(name, [one for one in epochs if name in one]) for name in names}


def _mean(name: str, epochs: Sequence[Mapping[str, float]]) -> float:
    values = [one[name] for one in epochs]
    if name in _RATES:
        return len(values) / sum(1 / value for value in values) if min(values) > 0 else 0.0
    # Epochs of as many samples last the longer, the lower their rate is.
    rates = [one.get(_RATE, 0.0) for one in epochs]
    if name not in _OF_TIME or min(rates) <= 0:
        return sum(values) / len(values)
    whole = sum(1 / rate for rate in rates)
    return sum(value / rate for value, rate in zip(values, rates, strict=True)) / whole
