"""Where each value came from, as a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import OmegaConf
from rich.console import Console
from rich.text import Text

from chirpid.cli.help import show
from chirpid.config.resolve import COMMAND_LINE, DEFAULT, Resolved, plain_leaves

if TYPE_CHECKING:
    from chirpid.loading.hardware import Machine
    from chirpid.loading.plan import LoaderPlan

_STYLES = {DEFAULT: "dim", COMMAND_LINE: "bold"}


def print_settings(resolved: Resolved) -> None:
    """Print every setting with its value and origin; what a user gave stands out."""
    settings = plain_leaves(OmegaConf.structured(resolved.config))
    rows = [(key, show(value), resolved.sources[key]) for key, value in settings.items()]
    console = Console(soft_wrap=True, highlight=False)
    _print_table(console, ("setting", "value", "from"), rows)
    console.print()


def print_plan_table(console: Console, plan: LoaderPlan) -> None:
    """Print every decision with who took it and why, and the bytes that follow."""
    console.print("Loader plan")
    rows = [*plan.rows(), *plan.byte_rows()]
    _print_table(console, ("setting", "value", "from", "because"), rows)


def print_machine(console: Console, machine: Machine, places: Sequence[tuple[str, Path]]) -> None:
    """Print what was found of the machine, and on what kind of disk each of the places lies."""
    from chirpid.loading.disks import read_disk
    from chirpid.types import size_text

    physical = machine.num_physical_cores
    behind = "" if physical is None else f" of {physical} physical cores"
    gpu = "no GPU" if machine.gpu is None else f"{machine.gpu} ({size_text(machine.gpu_bytes)})"
    told = [(name, read_disk(path)) for name, path in places]
    disks = "".join(f"; disk of {name}: {disk.kind.value} ({disk.reason})" for name, disk in told)
    console.print(
        f"  machine: {machine.num_cores} usable threads{behind}, {size_text(machine.free_bytes)} "
        f"free of {size_text(machine.ram_bytes)}, {gpu}{disks}"
    )


def _print_table(console: Console, head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    # Not a rich table: in a pipe that would fold at 80 columns.
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns[:-1]]
    for row in (head, *rows):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=False)]
        line = "  ".join([*cells, row[-1]])
        console.print(Text(line, style=_STYLES.get(row[2], "") if len(head) == 3 else ""))
