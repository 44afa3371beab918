"""`chirpid bench loaders`: our loaders beside plain torch, in one run, on this machine."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from chirpid.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from rich.table import Table

    from chirpid.bench.timing import Row

VERSION = 1


def main(argv: Sequence[str]) -> int:
    """Run the works that were asked for, print a table, write JSON if wanted."""
    arguments = _arguments(argv)
    from rich.console import Console

    from chirpid.bench.loaders import Options, works
    from chirpid.bench.timing import machine
    from chirpid.storage.atomic import write_text

    samples = arguments.num_batches * arguments.batch_size if arguments.num_batches else None
    options = Options(
        samples=samples or (128 if arguments.quick else arguments.samples),
        batch_size=arguments.batch_size,
        seeds=1 if arguments.quick else arguments.seeds,
    )
    table = works(options)
    wanted = arguments.only.split(",") if arguments.only else list(table)
    for name in wanted:
        if name not in table:
            hint = did_you_mean(name, tuple(table))
            raise ConfigError(f"There is no work '{name}'.{hint} Works: {', '.join(table)}.")
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    facts, rows = machine(), []
    with tempfile.TemporaryDirectory(prefix="chirpid-bench-") as folder:
        for name in wanted:
            rows += table[name](Path(folder), console.print if console.is_terminal else _quiet)
    console.print(table_of(rows))
    if arguments.output:
        report = {"version": VERSION, "machine": facts, "options": asdict(options),
                  "rows": [asdict(row) for row in rows]}  # fmt: skip
        write_text(Path(arguments.output), json.dumps(report, indent=1) + "\n")
    return 0


def table_of(rows: Sequence[Row]) -> Table:
    """Return the figures as a table for the console."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("work", "case"):
        table.add_column(column, no_wrap=True)
    for column in ("segments/s", "median s", "from", "to", "ratio", "% of limit"):
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


def _quiet(line: str) -> None:
    """Say nothing: the output is not a terminal."""


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="chirpid bench", description=__doc__)
    parser.add_argument("what", choices=["loaders"])
    parser.add_argument("--samples", type=int, default=1600, help="segments of each work")
    parser.add_argument("--num-batches", type=int, help="batches instead of --samples")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5, help="repetitions, each of another order")
    parser.add_argument("--only", help="works, separated by commas")
    parser.add_argument("--output", help="JSON file")
    parser.add_argument("--quick", action="store_true", help="a look in seconds, not a measurement")
    return parser.parse_args(list(argv))
