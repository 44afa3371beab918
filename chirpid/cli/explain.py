"""Where each value came from, as a table."""

from __future__ import annotations

from omegaconf import OmegaConf
from rich.console import Console
from rich.text import Text

from chirpid.cli.help import show
from chirpid.config.resolve import COMMAND_LINE, DEFAULT, Resolved, plain_leaves

_STYLES = {DEFAULT: "dim", COMMAND_LINE: "bold"}


def print_settings(resolved: Resolved) -> None:
    """Print every setting with its value and origin; what a user gave stands out."""
    rows = [("setting", "value", "from")]
    for key, value in plain_leaves(OmegaConf.structured(resolved.config)).items():
        rows.append((key, show(value), resolved.sources[key]))
    first, second = (max(len(row[column]) for row in rows) for column in (0, 1))
    # Not a rich table: in a pipe that would fold at 80 columns.
    console = Console(soft_wrap=True, highlight=False)
    for name, value, source in rows:
        line = f"{name:<{first}}  {value:<{second}}  {source}"
        console.print(Text(line, style=_STYLES.get(source, "")))
    console.print()
