"""Every fixed setting and `loader=auto` in turns, and what the picking came to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import numpy as np

from chirpid.bench.auto.workloads import AUTO, TORCH, Fixed, Workload
from chirpid.bench.report import table
from chirpid.errors import BenchmarkError

Told = dict[str, Any]
Ask = Callable[[Fixed], Told]
"""Trains with a setting; gives the seconds of its parts, or why it was refused."""

NEAR = 1.25
"""Settings slower than the best by more than this are not run again."""


@dataclass(frozen=True, slots=True)
class SettingRow:
    """What a setting came to on a workload."""

    workload: str
    setting: str
    total_s: float
    """From the first look at the recordings to the last epoch, store and probe included; the
    median over turns."""
    spread: tuple[float, float]
    turns: int
    samples_per_s: float
    wait_share: float
    chosen: str
    """Mode, backend and workers."""
    prepare_s: float
    open_s: float
    refused: str = ""
    predicted: dict[str, float] = field(default_factory=dict)


def search(
    workload: Workload,
    settings: Sequence[Fixed],
    ask: Ask,
    *,
    turns: int,
    say: Callable[[str], None],
) -> list[SettingRow]:
    """Return a row per setting, `auto` and torch included.

    Every setting is run once, in an order that is drawn; the near ones and `auto` in each turn.

    Raises:
        BenchmarkError: two settings did not learn the same from the same batches.
    """
    every = [*settings, AUTO, TORCH]
    told: dict[str, list[Told]] = {setting.name: [] for setting in every}
    for turn in range(turns):
        drawn = np.random.default_rng(turn).permutation(len(every)).tolist()
        for setting in [every[number] for number in drawn]:
            if turn == 0 or _is_near(setting, told):
                told[setting.name].append(ask(setting))
        say(f"  {workload.name}: turn {turn + 1} of {turns}")
    _check_same(workload, told)
    return [_row(workload, name, each) for name, each in told.items()]


def _is_near(setting: Fixed, told: dict[str, list[Told]]) -> bool:
    if setting in (AUTO, TORCH):
        return setting is AUTO
    return _seconds(told[setting.name]) <= NEAR * _seconds(told[_best(told)])


def _best(told: dict[str, list[Told]]) -> str:
    fixed = (name for name in told if name not in (AUTO.name, TORCH.name))
    return min(fixed, key=lambda name: _seconds(told[name]))


def _seconds(told: Sequence[Told]) -> float:
    return float(median(one.get("total_s", float("inf")) for one in told))


def _check_same(workload: Workload, told: dict[str, list[Told]]) -> None:
    losses = {one["loss"] for name, each in told.items() for one in each
              if name != TORCH.name and "loss" in one}  # fmt: skip
    if len(losses) > 1:
        raise BenchmarkError(f"{workload.name}: settings ended at different losses, {losses}.")


def _row(workload: Workload, name: str, told: Sequence[Told]) -> SettingRow:
    done = [one for one in told if "total_s" in one]
    if not done:
        inf = float("inf")
        return SettingRow(workload.name, name, inf, (inf, inf), 0, 0.0, 0.0, "", 0.0, 0.0,
                          refused=told[0]["refused"])  # fmt: skip
    seconds = [one["total_s"] for one in done]
    middle = {key: median(one[key] for one in done)
              for key in ("samples_per_s", "wait_share", "prepare_s", "open_s")}  # fmt: skip
    predicted = [one["predicted"] for one in done if one.get("predicted")]
    names = predicted[0] if predicted else ()
    return SettingRow(
        workload.name, name, median(seconds), (min(seconds), max(seconds)), len(seconds),
        chosen=" or ".join(sorted({one["chosen"] for one in done})),
        predicted={name: median(one[name] for one in predicted) for name in names},
        **middle,
    )  # fmt: skip


def as_json(rows: Sequence[SettingRow]) -> list[dict[str, object]]:
    """Return the rows as they are written."""
    return [asdict(row) for row in rows]


def markdown(rows: Sequence[SettingRow], workloads: Sequence[Workload]) -> str:
    """Return a line a workload: the best fixed setting, what auto picked, and plain torch."""
    lines = []
    for workload in workloads:
        own = {row.setting: row for row in rows if row.workload == workload.name}
        auto, torch = own.pop(AUTO.name), own.pop(TORCH.name)
        best = min(own.values(), key=lambda row: row.total_s)
        worst = max((r for r in own.values() if not r.refused), key=lambda row: row.total_s)
        probe_s = auto.prepare_s - best.prepare_s
        lines.append([
            f"`{workload.name}`: {workload.about}",
            f"{best.setting}: {best.total_s:.2f} s",
            f"{worst.setting}: {worst.total_s:.2f} s",
            f"{auto.chosen}: {auto.total_s:.2f} s",
            f"{100 * (auto.total_s / best.total_s - 1):+.0f} %",
            f"{100 * ((auto.total_s - probe_s) / best.total_s - 1):+.0f} %",
            f"{torch.total_s:.2f} s, {torch.total_s / auto.total_s:.1f}×",
            _predicted(auto),
        ])  # fmt: skip
    columns = ["workload", "best fixed setting", "worst", "auto", "auto against the best",
               "without its probe", "torch's defaults", "predicted → achieved"]  # fmt: skip
    return table(lines, columns)


def _predicted(row: SettingRow) -> str:
    told = row.predicted.get("samples_per_s")
    return "" if told is None else f"{told:,.0f} → {row.samples_per_s:,.0f} samples/s"
