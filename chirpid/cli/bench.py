"""`chirpid bench`: loaders beside plain torch, their memory, and what thousands of epochs leave.

Each prints a table; --output writes it as JSON, and --markdown into a page.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chirpid.errors import BenchmarkError, ConfigError, did_you_mean

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from chirpid.bench.report import Report
    from chirpid.bench.timing import Row

_BEGIN_S = time.monotonic()
QUICK_SAMPLES, QUICK_DURATION_S = 64, 1.0


def main(argv: Sequence[str]) -> int:
    """Run a benchmark and return the exit code."""
    arguments = _parser().parse_args(list(argv))
    command = f"chirpid bench {' '.join(argv)}"
    with tempfile.TemporaryDirectory(prefix="chirpid-bench-") as folder:
        if arguments.what == "loaders":
            _loaders(arguments, command, Path(folder))
        elif arguments.what == "memory":
            _memory(arguments, command, Path(folder))
        elif arguments.what in ("auto", "advice"):
            _workloads(arguments, command, Path(folder))
        else:
            _soak(arguments, command, Path(folder))
    return 0


def _loaders(arguments: argparse.Namespace, command: str, folder: Path) -> None:
    from chirpid.bench.facts import machine
    from chirpid.bench.material import Bench, Options
    from chirpid.bench.report import Report, fill
    from chirpid.bench.works import WORKS

    wanted = _chosen(arguments.only, tuple(WORKS), "work")
    quick = {"samples": QUICK_SAMPLES, "seeds": 1, "duration_s": QUICK_DURATION_S}
    given = {name: getattr(arguments, name) for name in ("samples", "num_batches", "batch_size",
                                                         "seeds")}  # fmt: skip
    told = {name: value for name, value in given.items() if value is not None}
    options = Options(**(quick | told if arguments.quick else told))
    report = Report(machine(), command, options)
    load = os.getloadavg()[0]
    if load > 0.5:
        _say(f"The machine is busy (load {load:.1f}): figures taken now are worth less.")
    bench = Bench(folder, options, _say)
    for number, name in enumerate(wanted, start=1):
        _say(f"{name} ({number} of {len(wanted)})")
        report.rows += WORKS[name](bench)
        report.complete = number == len(wanted)
        if arguments.output:  # after each, so that Ctrl-C loses no more than one
            _write(report, Path(arguments.output))
    _console().print(table_of(report.rows))
    if arguments.markdown:
        fill(Path(arguments.markdown), arguments.section, report.markdown())


def _write(report: Report, path: Path) -> None:
    from chirpid.bench.plot import draw
    from chirpid.bench.report import machine_line

    report.write(path)
    draw(path.with_suffix(".png"), report.rows, machine_line(report.machine))


def _memory(arguments: argparse.Namespace, command: str, folder: Path) -> None:
    from chirpid.bench import memory

    rows = memory.measure(
        folder,
        samples=arguments.samples or (16 if arguments.quick else 160),
        duration_s=QUICK_DURATION_S if arguments.quick else 5.0,
        batch_size=arguments.batch_size or (8 if arguments.quick else 32),
        say=_say,
    )
    _publish(arguments, command, memory.as_json(rows), memory.markdown(rows))


def _workloads(arguments: argparse.Namespace, command: str, folder: Path) -> None:
    from dataclasses import replace

    from chirpid.bench.auto import following, search
    from chirpid.bench.auto.workloads import WORKLOADS
    from chirpid.cli import bench_advice, bench_auto

    names = _chosen(arguments.only, tuple(one.name for one in WORKLOADS), "workload")
    wanted = [one for one in WORKLOADS if one.name in names]
    samples = arguments.samples or (QUICK_SAMPLES if arguments.quick else None)
    if samples is not None:
        wanted = [replace(one, recordings=samples) for one in wanted]
    is_advice = arguments.what == "advice"
    told: Any = following if is_advice else search
    measure: Any = bench_advice.measure if is_advice else bench_auto.measure
    rows: list[Any] = []
    for one in wanted:
        rows += measure(
            folder,
            [one],
            turns=arguments.seeds or (1 if is_advice or arguments.quick else 3),
            duration_s=QUICK_DURATION_S if arguments.quick else 5.0,
            say=_say,
        )
        _write_rows(arguments, command, told.as_json(rows))  # so that no later one loses it
    staged = [one for one in wanted if any(row.workload == one.name for row in rows)]
    table = told.markdown(rows) if is_advice else told.markdown(rows, staged)
    _publish(arguments, command, told.as_json(rows), table)


def _soak(arguments: argparse.Namespace, command: str, folder: Path) -> None:
    from chirpid.bench import soak

    only = _chosen(arguments.only, tuple(soak.CASES), "case")
    epochs = arguments.epochs or (48 if arguments.quick else 3000)
    rows = soak.measure(folder, epochs=epochs, only=only, say=_say)
    _publish(arguments, command, soak.as_json(rows), soak.markdown(rows))
    grown = [row.case for row in rows if not row.flat]
    if grown:
        raise BenchmarkError(
            f"After {epochs} epochs memory, descriptors, threads or children had grown in: "
            f"{', '.join(grown)}. See the table."
        )


def _publish(
    arguments: argparse.Namespace, command: str, rows: list[dict[str, object]], table: str
) -> None:
    """Print a table; write JSON and the page where they are wanted."""
    from chirpid.bench.facts import machine
    from chirpid.bench.report import fill, machine_line

    print(table)
    _write_rows(arguments, command, rows)
    if arguments.markdown:
        head = f"`{command}`, {machine_line(machine())}:\n\n"
        fill(Path(arguments.markdown), arguments.what, head + table)


def _write_rows(arguments: argparse.Namespace, command: str, rows: list[dict[str, object]]) -> None:
    from chirpid.bench.facts import machine
    from chirpid.bench.report import VERSION, write_json

    if arguments.output:
        content = {"version": VERSION, "command": command, "machine": machine(), "rows": rows}
        write_json(Path(arguments.output), content)


def table_of(rows: Sequence[Row]) -> Table:
    """Return the figures as a table for the console."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("work", "case"):
        table.add_column(column, no_wrap=True)
    for column in ("rows/s", "median s", "from", "to", "ratio", "% of limit"):
        table.add_column(column, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(
            row.work,
            row.case,
            f"{row.samples_per_s:,.0f}",
            f"{row.median_s:.4f}",
            f"{row.spread[0]:.4f}",
            f"{row.spread[1]:.4f}",
            f"{row.ratio:.2f}×",
            f"{row.percent_of_limit:.0f}",
        )
    return table


def _chosen(only: str | None, known: tuple[str, ...], what: str) -> tuple[str, ...]:
    """Return the names in `only`, or all."""
    if not only:
        return known
    for name in (wanted := tuple(part.strip() for part in only.split(","))):
        if name not in known:
            raise ConfigError(
                f"There is no {what} '{name}'.{did_you_mean(name, known)} "
                f"{what.capitalize()}s: {', '.join(known)}."
            )
    return wanted


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else 130)


def _say(line: str) -> None:
    """Tell progress and the seconds since the start, away from the table."""
    print(f"{time.monotonic() - _BEGIN_S:6.0f} s  {line}", file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="chirpid bench", description=__doc__)
    commands = parser.add_subparsers(dest="what", required=True)
    about = {
        "loaders": "our loaders, plain torch and other libraries at the same work",
        "memory": "peak memory of each mode as the set grows tenfold",
        "auto": "what loader=auto picks, against every fixed setting and plain torch",
        "advice": "what following the advice of a run brings, on poor settings",
        "soak": "thousands of epochs: memory, descriptors and threads must stay flat",
    }
    for name, text in about.items():
        one = commands.add_parser(name, help=text, description=text)
        one.add_argument("--output", metavar="FILE.json", help="write JSON; loaders draw a PNG too")
        one.add_argument("--markdown", metavar="FILE.md", help="write the table into a page")
        one.add_argument("--quick", action="store_true", help="a look, not a measurement")
        if name != "memory":
            one.add_argument("--only", help="names, separated by commas")
        if name == "soak":
            one.add_argument("--epochs", type=_positive, help="of each case, 3000")
            continue
        one.add_argument("--samples", type=_positive, help="rows of a pass, as each work has them")
        if name in ("loaders", "auto", "advice"):
            one.add_argument("--seeds", type=_positive, help="turns, each of another order")
        if name not in ("auto", "advice"):
            one.add_argument("--batch-size", type=_positive, help="rows of a batch")
        if name == "loaders":
            one.add_argument("--num-batches", type=_positive, help="instead of --samples")
            one.add_argument("--section", default="loaders", metavar="NAME",
                             help="where --markdown writes: after <!-- bench:NAME -->")  # fmt: skip
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number
