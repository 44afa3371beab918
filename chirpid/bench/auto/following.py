"""Is advice worth following? Poor settings are trained with, then what their advice says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median

from chirpid.bench.auto.search import Ask, Told
from chirpid.bench.auto.workloads import Fixed, Workload
from chirpid.bench.report import table
from chirpid.errors import BenchmarkError
from chirpid.loading.advice import BUSY


@dataclass(frozen=True, slots=True)
class FollowedRow:
    """What following the advice of a run came to."""

    workload: str
    start: str
    """The setting that the run began with."""
    bound: str
    sentence: str
    overrides: tuple[str, ...]
    predicted_gain: float
    achieved_gain: float | None
    """Samples a second of training epochs, after over before; None if nothing was advised."""
    before_samples_per_s: float
    after_samples_per_s: float | None
    turns: int
    others_share: float = 0.0
    """Share that other programs had of the core time that the first run was ready to use: from
    `BUSY` on its sentence promises no figure, and this row tests none."""

    @property
    def kept_share(self) -> float | None:
        """Share of the promised gain that came true; None if no gain was promised."""
        if self.achieved_gain is None or self.others_share >= BUSY:
            return None
        return (self.achieved_gain - 1) / (self.predicted_gain - 1)


def starts(num_cores: int) -> list[Fixed]:
    """Return settings that somebody may well begin with, and should not have."""
    lazy = ("mode=lazy", "loader=balanced")
    threads = ("loader.backend=threads", f"loader.num_workers={num_cores}", "loader.prefetch=2")
    return [
        Fixed("lazy, inline", (*lazy, "loader.backend=inline")),
        Fixed(f"lazy, threads, {num_cores}", (*lazy, *threads)),
    ]


def follow(
    workload: Workload, start: Fixed, ask: Ask, *, turns: int, say: Callable[[str], None]
) -> FollowedRow:
    """Return a row: train, read the advice, train as it says, in turns.

    Raises:
        BenchmarkError: a setting was refused, or what is advised learns something else.
    """
    before, after = [_ask(workload, start, ask)], []
    advice = before[0]["advice"]
    overrides = tuple(advice["overrides"])
    say(f"  {start.name}: {advice['sentence']}")
    if overrides:
        advised = Fixed(f"{start.name}, as advised", (*start.overrides, *overrides))
        for turn in range(turns):
            if turn:
                before.append(_ask(workload, start, ask))
            after.append(_ask(workload, advised, ask))
        losses = {one["loss"] for one in (*before, *after)}
        if len(losses) > 1:
            raise BenchmarkError(f"{workload.name}: settings ended at different losses, {losses}.")
    was, now = _speed(before), _speed(after) if after else None
    return FollowedRow(
        workload=workload.name,
        start=start.name,
        bound=advice["bound"],
        sentence=advice["sentence"],
        overrides=overrides,
        predicted_gain=advice["predicted_gain"],
        achieved_gain=None if now is None else now / was,
        before_samples_per_s=was,
        after_samples_per_s=now,
        turns=max(1, len(after)),
        others_share=advice["others_share"],
    )


def _ask(workload: Workload, setting: Fixed, ask: Ask) -> Told:
    told = ask(setting)
    if "refused" in told:
        raise BenchmarkError(f"{workload.name}, {setting.name}: {told['refused']}")
    return told


def _speed(told: Sequence[Told]) -> float:
    return float(median(one["samples_per_s"] for one in told))


def as_json(rows: Sequence[FollowedRow]) -> list[dict[str, object]]:
    """Return the rows as they are written."""
    return [{**asdict(row), "kept_share": row.kept_share} for row in rows]


def markdown(rows: Sequence[FollowedRow]) -> str:
    """Return a line for each workload and start."""
    lines = []
    for row in rows:
        advised, achieved, share = "nothing", "", ""
        promised = f"{row.predicted_gain:.2f}×"
        if row.achieved_gain is not None:
            advised = f"`{' '.join(row.overrides)}`"
            achieved = f"{row.achieved_gain:.2f}×"
        if row.kept_share is not None:
            share = f"{100 * row.kept_share:.0f} %"
        elif row.overrides:
            promised = f"none: others had {row.others_share:.0%} of its core time"
        lines.append([
            f"`{row.workload}`", row.start, row.bound, f"{row.before_samples_per_s:,.0f}", advised,
            promised, achieved, share,
        ])  # fmt: skip
    columns = ["workload", "begun with", "bound by", "samples/s", "advised", "promised",
               "came true", "share of the gain"]  # fmt: skip
    return table(lines, columns)
