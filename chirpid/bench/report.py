"""What a benchmark came to: JSON, a table in Markdown, and a line of the machine beside both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from chirpid.bench.timing import Row
from chirpid.errors import ConfigError
from chirpid.storage.atomic import write_text

VERSION = 1


@dataclass(slots=True)
class Report:
    """A run of the loader benchmark, as far as it has come."""

    machine: dict[str, object]
    command: str
    options: Any
    rows: list[Row] = field(default_factory=list)
    complete: bool = False
    """False until the last work is done: a run that was stopped leaves what it had."""

    def write(self, path: Path) -> None:
        """Write the JSON, whole or not at all."""
        write_json(
            path,
            {
                "version": VERSION,
                "complete": self.complete,
                "command": self.command,
                "machine": self.machine,
                "options": asdict(self.options),
                "rows": [row.as_json() for row in self.rows],
            },
        )

    def markdown(self) -> str:
        """Return the table for a page, with the command and the machine above it."""
        num_seeds = self.options.seeds
        head = f"`{self.command}`, {machine_line(self.machine)}, seeds 0 to {num_seeds - 1}:"
        lines = [
            "| work | case | rows/s | seconds, median (range) | against the baseline "
            "| of the limit | also |",
            "|---|---|---|---|---|---|---|",
            *(_line(row) for row in self.rows),
        ]
        busy = sorted({row.work for row in self.rows if row.others_cores > 0.1})
        note = [f"Other programs ran beside {', '.join(f'`{w}`' for w in busy)}.", ""]
        return "\n".join([head, "", *(note if busy else []), *lines]) + "\n"


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON file, whole or not at all."""
    write_text(path, json.dumps(content, indent=1) + "\n")


def machine_line(machine: Mapping[str, object]) -> str:
    """Return the machine in a few words."""
    gpu = machine["gpu"] or "no GPU"
    return (
        f"{machine['cpu']}, {machine['cores']} cores, {machine['ram_gib']} GiB, {gpu}, Python "
        f"{machine['python']}, torch {machine['torch']}, native library: {machine['native']}"
    )


def _line(row: Row) -> str:
    low, high = row.spread
    case = row.case + (" (baseline)" if row.case == row.baseline else "")
    also = "; ".join(_words(name, value) for name, value in row.figures.items())
    return (
        f"| `{row.work}` | {case} | {row.samples_per_s:,.0f} | {row.median_s:.4f} "
        f"({low:.4f}–{high:.4f}) | {row.ratio:.2f}× | {row.percent_of_limit:.0f} % | {also} |"
    )


def _words(name: str, value: float) -> str:
    """Return a figure for people: its unit is the end of its name."""
    words = name.replace("_", " ")
    if name.endswith("_share"):
        return f"{words.removesuffix(' share')} {100 * value:.1f} %"
    for unit, shown in (
        ("_ms", "ms"),
        ("_us", "µs"),
        ("_percent", "%"),
        ("_mib", "MiB"),
        ("_kib", "KiB"),
        ("core_s", "core-seconds"),
    ):
        if name.endswith(unit):
            said = words.removesuffix(unit.replace("_", " ").strip()).strip()
            return f"{said} {value:.2f} {shown}".strip()
    return f"{words} {value:.3g}"


def fill(page: Path, name: str, text: str) -> None:
    """Put `text` between the markers `<!-- bench:name -->` and `<!-- /bench:name -->` of a page.

    A page that does not exist is made of nothing but that.

    Raises:
        ConfigError: the page has no such markers.
    """
    begin, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    before, after = "", ""
    if page.exists():
        content = page.read_text(encoding="utf-8")
        if content.count(begin) != 1 or content.count(end) != 1:
            raise ConfigError(
                f"{page} has no place for the table. Put the lines '{begin}' and '{end}' there."
            )
        before, after = content.split(begin)[0], content.split(end)[1]
    write_text(page, f"{before}{begin}\n{text}{end}{after or chr(10)}")


def table(rows: Sequence[Sequence[str]], columns: Sequence[str]) -> str:
    """Return a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
