"""`train.py` and `chirpid train`: flags and overrides in, one run or one sweep out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import chirpid
from chirpid.cli.guard import run_guarded
from chirpid.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from chirpid.config.resolve import Resolved, SweepInfo

FLAGS = ("-h", "--help", "-m", "--multirun", "--explain", "--cfg", "--config-dir", "--version")


@dataclass(slots=True)
class Arguments:
    """A command line, taken apart."""

    overrides: list[str] = field(default_factory=list)
    config_dir: Path | None = None
    sweep: bool = False
    show_config: bool = False
    show_help: bool = False
    show_version: bool = False


def main(argv: Sequence[str] | None = None) -> int:
    """Train, explain or sweep, and return the exit code."""
    return run_guarded(lambda: _main(list(sys.argv[1:] if argv is None else argv)))


def parse_arguments(argv: Sequence[str]) -> Arguments:
    """Return flags and overrides of a command line, in any order.

    Raises:
        ConfigError: an unknown flag, or --config-dir without a folder.
    """
    found = Arguments()
    words = iter(argv)
    for word in words:
        if word.startswith("--config-dir"):
            folder = word.partition("=")[2] or next(words, "")
            if not folder:
                raise ConfigError("--config-dir needs a folder: --config-dir my_conf.")
            found.config_dir = Path(folder)
        elif word.startswith("-"):
            _take_flag(found, word)
        else:
            found.overrides.append(word)
    return found


def run_one(resolved: Resolved, sweep: SweepInfo | None = None) -> float | None:
    """Train or explain what was resolved; return the optimised metric, if there is one."""
    for note in resolved.notes:
        print(f"note: {note}", file=sys.stderr)
    if resolved.config.explain:
        from chirpid.cli.explain import print_settings

        print_settings(resolved)
    from chirpid.cli import session  # torch takes seconds: wrong settings are told before

    if resolved.config.explain:
        session.explain(resolved)
        return None
    return session.train(resolved, sweep)


def _take_flag(found: Arguments, word: str) -> None:
    if word in ("-h", "--help"):
        found.show_help = True
    elif word in ("-m", "--multirun"):
        found.sweep = True
    elif word == "--explain":
        found.overrides.append("explain=true")
    elif word == "--cfg":
        found.show_config = True
    elif word == "--version":
        found.show_version = True
    else:
        hint = did_you_mean(word, FLAGS)
        raise ConfigError(f"There is no flag '{word}'.{hint} Flags: {', '.join(FLAGS)}.")


def _main(argv: list[str]) -> int:
    arguments = parse_arguments(argv)
    if arguments.show_version:
        print(f"chirpid {chirpid.__version__}")
        return 0
    if arguments.show_help:
        return _print_help(arguments.overrides)
    from chirpid.config.store import compose_raw

    overrides = arguments.overrides
    composed = compose_raw(overrides, config_dir=arguments.config_dir, sweep=arguments.sweep)
    if arguments.sweep or composed.asks_for_sweep:
        from chirpid.cli.sweep import run_sweep

        return run_sweep(overrides, config_dir=arguments.config_dir)
    resolved = composed.resolve()
    if arguments.show_config:
        print(resolved.yaml, end="")
        return 0
    run_one(resolved)
    return 0


def _print_help(topics: Sequence[str]) -> int:
    from chirpid.cli.help import group_help, overview

    if topics:
        print("\n\n".join(group_help(topic) for topic in topics))
    else:
        program = Path(sys.argv[0]).name
        print(overview("python train.py" if program == "train.py" else "chirpid train"), end="")
    return 0
