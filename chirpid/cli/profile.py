"""`chirpid profile`: where the time of a training goes, measured without training."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from chirpid.cli.guard import run_guarded
from chirpid.errors import ConfigError

_ABOUT = """\
Measure what a training would do, without training: what each stage of loading costs, the step
alone, the loader alone and both together; then what each setting would come to, and advice.
Takes the overrides of chirpid train. No run folder is written and no cache is built.
"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    result = argparse.ArgumentParser(
        prog="chirpid profile",
        description=_ABOUT,
        epilog="example: chirpid profile mode=lazy loader.backend=inline",
    )
    result.add_argument("overrides", nargs="*", metavar="SETTING=VALUE", help="as for training")
    result.add_argument("--json", type=Path, metavar="FILE", help="write all figures")
    result.add_argument("--seconds", type=_seconds, default=6.0, metavar="N",
                        help="what measuring may take, 6")  # fmt: skip
    result.add_argument("--config-dir", type=Path, metavar="DIR", help="take options from DIR, too")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit code."""
    options = parser().parse_intermixed_args(argv)
    return run_guarded(lambda: _main(options))


def _main(options: argparse.Namespace) -> int:
    from chirpid.config.store import compose_raw

    composed = compose_raw(options.overrides, config_dir=options.config_dir)
    if composed.asks_for_sweep:
        raise ConfigError("chirpid profile measures one setting; leave the sweep out.")
    resolved = composed.resolve()
    from chirpid.cli import profiling  # torch takes seconds: wrong settings are told before

    profiling.profile(resolved, seconds=options.seconds, path=options.json)
    return 0


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.5 <= seconds <= 600:
        raise argparse.ArgumentTypeError("must be from 0.5 to 600")
    return seconds
