"""Results as tables for the console."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from chirpid.reports.comparison import metric_order

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
    from rich.table import Table

_NOTHING = "–"


def summary(results: Mapping[str, Any], *, title: str = "") -> RenderableType:
    """Return a table of metrics per fold, mean and deviation over folds, and the pooled value.

    The columns of the folds are left out where the console is too narrow for them.

    Args:
        results: the content of `results.json`. A value that is None shows as a dash.
    """
    return _Fitting([_summary(results, title, True), _summary(results, title, False)])


class _Fitting:
    """Shows the first of some renderings that fits the console."""

    def __init__(self, choices: Sequence[Table]) -> None:
        self._choices = choices

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for choice in self._choices:
            if (
                console.measure(choice, options=options.update(width=1000)).maximum
                <= options.max_width
            ):
                yield choice
                return
        yield self._choices[-1]


def _summary(results: Mapping[str, Any], title: str, with_folds: bool) -> Table:
    table = _table(title)
    table.add_column("metric", no_wrap=True)
    folds = results.get("folds", [])
    shown = folds if with_folds and len(folds) > 1 else []
    for fold in shown:
        table.add_column(f"fold {fold['fold']}", justify="right", style="dim", no_wrap=True)
    if len(folds) > 1:
        table.add_column("mean ± std", justify="right", no_wrap=True)
    table.add_column("all", justify="right", style="bold", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    before = ""
    for name in metric_order(list(results["metrics"])):
        entry = results["metrics"][name]
        if before and name.partition("/")[0] != before:
            table.add_section()
        before = name.partition("/")[0]
        cells = [number(fold["metrics"].get(name)) for fold in shown]
        if len(folds) > 1:
            cells.append(f"{number(entry.get('mean'))} ± {number(entry.get('std'))}")
        table.add_row(name, *cells, number(entry.get("pooled")), interval(entry.get("ci95")))
    return table


def comparison(
    runs: Mapping[str, Mapping[str, Any]],
    *,
    metrics: Sequence[str] = ("recording/accuracy", "recording/macro_f1"),
    title: str = "",
    notes: Mapping[str, str] | None = None,
) -> RenderableType:
    """Return a table of several runs' pooled metrics with their intervals, in the given order.

    It shows what a leak is worth: the same data split by recordist, by recording, by window.

    Args:
        runs: content of `results.json` by name of the run.
        notes: a remark by name of the run, for example "leaks recordists".
    """
    table = _table(title)
    table.add_column("run", no_wrap=True)
    for metric in metrics:
        table.add_column(metric, justify="right", style="bold", no_wrap=True)
        table.add_column("95 % interval", justify="right", no_wrap=True)
    if notes:
        table.add_column("")
    for name, results in runs.items():
        cells = [name]
        for metric in metrics:
            entry = results["metrics"].get(metric, {})
            cells += [number(entry.get("pooled")), interval(entry.get("ci95"))]
        table.add_row(*cells, *([notes.get(name, "")] if notes else []))
    return table


def _table(title: str) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    # Text, not markup: a "[" in a name is a "[".
    return Table(
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
        header_style="bold",
    )


def number(value: float | None) -> str:
    """Return three decimals, or a dash for None and values that are not finite."""
    if value is None or value != value or value in (float("inf"), float("-inf")):
        return _NOTHING
    return f"{value:.3f}"


def interval(ci95: Sequence[float] | None) -> str:
    """Return "0.412–0.583", or a dash for None."""
    return _NOTHING if ci95 is None else f"{number(ci95[0])}–{number(ci95[1])}"
