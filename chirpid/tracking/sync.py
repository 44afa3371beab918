"""Sending later what could not be sent during the training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from chirpid.tracking.journal import JOURNAL
from chirpid.tracking.sender import Sender, target_of
from chirpid.tracking.sent import LOCK, locked
from chirpid.tracking.target import Target


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one run folder."""

    folder: Path
    state: Literal["sent", "up to date", "in use", "away", "unreadable"]
    detail: str = ""
    """Where it went, or why not; for `sent` also the first thing that was refused."""


def run_folders(places: Iterable[Path]) -> list[Path]:
    """Return the folders with a journal at or below the places, sorted."""
    return sorted({path.parent for place in places for path in place.rglob(JOURNAL)})


def send_folder(
    folder: Path, *, uri: str | None = None, experiment: str | None = None, timeout_s: float = 10.0
) -> Outcome:
    """Send what a run folder holds and its target lacks; sending twice changes nothing.

    Args:
        uri: another target than the journal names.
        experiment: another experiment than the journal names.
    """
    from chirpid.tracking.mlflow_store import Away, Refused

    try:
        target = target_of(folder)
    except (OSError, ValueError) as error:
        return Outcome(folder, "unreadable", str(error))
    target = replace(target, uri=uri or target.uri, experiment=experiment or target.experiment,
                     timeout_s=timeout_s)  # fmt: skip
    with locked(folder / LOCK, timeout_s=0.0) as held:
        if not held:
            return Outcome(folder, "in use", "a training writes to it and sends it itself")
        try:
            return _send(folder, target)
        except Away as error:
            return Outcome(folder, "away", f"{target.shown} is away ({error})")
        except Refused as error:
            return Outcome(folder, "away", f"{target.shown} does not take the run ({error})")


def _send(folder: Path, target: Target) -> Outcome:
    sender = Sender(folder, target)
    behind = sender.behind()
    if behind:
        sender.drain()
    # Also where all was sent: who sent it may have been killed together with the training.
    sender.kill_open_runs()
    if not behind:
        return Outcome(folder, "up to date", target.shown)
    refused = f"; left out: {sender.sent.refused}" if sender.sent.refused else ""
    return Outcome(folder, "sent", f"to {target.shown}{refused}")
