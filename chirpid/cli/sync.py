"""`chirpid sync`: send tracking data that a training could not send."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from chirpid.errors import ChirpError, DataError


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    result = argparse.ArgumentParser(
        prog="chirpid sync",
        description="Send to MLflow what trainings could not send while the server was away."
        " Running it twice changes nothing.",
    )
    result.add_argument("folders", nargs="*", type=Path, metavar="RUN_FOLDER",
                        help="run folders; none: all below --outputs")  # fmt: skip
    result.add_argument("--outputs", type=Path, default=Path("outputs"),
                        help="folder of all outputs (default: %(default)s)")  # fmt: skip
    result.add_argument("--uri", help="another target than the one of the training")
    result.add_argument("--experiment", help="another experiment than the one of the training")
    result.add_argument(
        "--timeout-s", type=float, default=10.0, help="a server silent for longer is away"
    )
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Return 0 if everything is at its target now, 1 if not, 2 for a wrong argument."""
    options = parser().parse_args(argv)
    try:
        return _sync(options)
    except ChirpError as error:
        print(error.line(), file=sys.stderr)
        return error.exit_code


def _sync(options: argparse.Namespace) -> int:
    from chirpid.tracking.sync import run_folders, send_folder
    from chirpid.tracking.target import parse_target

    places = options.folders or [options.outputs]
    for place in places:
        if not place.is_dir():
            raise DataError(f"No folder {place}. Give run folders, or --outputs.")
    folders = run_folders(places)
    if not folders:
        raise DataError(f"No tracking data below {', '.join(map(str, places))}.")
    target, secrets = parse_target(options.uri, outputs=options.outputs, experiment="",
                                   timeout_s=options.timeout_s)  # fmt: skip
    os.environ.update(secrets)
    outcomes = []
    for folder in folders:
        outcome = send_folder(folder, uri=target.uri, experiment=options.experiment,
                              timeout_s=options.timeout_s)  # fmt: skip
        outcomes.append(outcome)
        if outcome.state != "up to date":
            print(f"{folder}: {outcome.state} {outcome.detail}")
    states = [outcome.state for outcome in outcomes]
    sent, before = states.count("sent"), states.count("up to date")
    print(f"{sent} sent, {before} up to date, {len(states) - sent - before} not sent")
    return int(any(state in ("away", "unreadable") for state in states))


if __name__ == "__main__":
    sys.exit(main())
