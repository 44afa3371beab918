"""Where each value came from, as a table."""

from __future__ import annotations

from chirpid.cli.help import show
from chirpid.config.resolve import COMMAND_LINE, DEFAULT, Resolved


def print_settings(resolved: Resolved) -> None:
    """Print every setting with its value and origin; what a user gave stands out."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="Settings", box=None, pad_edge=False, title_justify="left")
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for key, value in values_of(resolved).items():
        source = resolved.sources[key]
        style = {DEFAULT: "dim", COMMAND_LINE: "bold"}.get(source, "")
        table.add_row(key, escape(show(value)), source, style=style)
    Console().print(table)


def values_of(resolved: Resolved) -> dict[str, object]:
    """Return each setting by its dotted key, enums by name."""
    from omegaconf import OmegaConf

    from chirpid.config.resolve import plain_leaves

    return plain_leaves(OmegaConf.structured(resolved.config))
