"""The `chirpid` command. Each subcommand is imported when it is called, so that help is quick."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from typing import cast

import chirpid
from chirpid.cli.guard import run_guarded
from chirpid.errors import ConfigError, did_you_mean

COMMANDS = {
    "train": "train a classifier, cross-validated and tracked (the same as train.py)",
    "ui": "open MLflow on the runs",
    "sync": "send to the tracking server what it has missed while it was away",
    "hardware": "show what this machine has and what would be planned for it",
    "profile": "measure where the time of a training goes, without training",
    "shard": "write a set as shards that other machines can train on",
    "cache": "list and remove caches",
    "bench": "measure our loaders beside plain torch on this machine",
}

_USAGE = "usage: chirpid COMMAND [...]"


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand and return its exit code."""
    return run_guarded(lambda: _dispatch(list(sys.argv[1:] if argv is None else argv)))


def _dispatch(argv: list[str]) -> int:
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(_help())
        return 0 if argv else 2
    if argv[0] == "--version":
        print(f"chirpid {chirpid.__version__}")
        return 0
    if argv[0] not in COMMANDS:
        hint = did_you_mean(argv[0], tuple(COMMANDS))
        raise ConfigError(
            f"There is no command '{argv[0]}'.{hint} Commands: {', '.join(COMMANDS)}."
        )
    module = importlib.import_module(f"chirpid.cli.{argv[0]}")
    run = cast("Callable[[list[str]], int | None]", module.main)
    return run(argv[1:]) or 0


def _help() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()]
    commands = "\n".join(lines)
    return f"{_USAGE}\n\n{commands}\n\nHelp on one of them: chirpid COMMAND --help"


if __name__ == "__main__":
    sys.exit(main())
