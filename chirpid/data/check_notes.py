"""What the check of recordings tells the user: problems, what was left out, what is odd."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np

from chirpid.audio.scan import Scan
from chirpid.data.labels import counted
from chirpid.data.manifest import Manifest, Problem
from chirpid.errors import DataError
from chirpid.storage.atomic import write_text
from chirpid.types import OnBad

SHOWN_PROBLEMS = 20
SHOWN_NAMES = 3


def stop_if_bad(
    problems: list[Problem], num_all: int, on_bad: OnBad, report_path: Path | None
) -> None:
    """Raise DataError that names the problems, if they are to stop the run."""
    fatal = problems if on_bad is OnBad.stop else [one for one in problems if one.blocking]
    if not fatal:
        return
    what = "Mend them or drop their rows"
    if not any(problem.blocking for problem in fatal):
        what = "Mend them, drop their rows, or set dataset.on_bad=skip to go on without them"
    lines = [f"{len(fatal)} of {counted(num_all, 'recording')} cannot be used. {what}."]
    lines += [f"  {problem}" for problem in fatal[:SHOWN_PROBLEMS]]
    if len(fatal) > SHOWN_PROBLEMS:
        lines.append(f"  ... and {len(fatal) - SHOWN_PROBLEMS} more.")
    if report_path is not None:
        _write_report(problems, report_path)
        lines.append(f"  All of them: {report_path}")
    raise DataError("\n".join(lines))


def refuse_or_note(
    manifest: Manifest, usable: list[int], problems: list[Problem], report_path: Path | None
) -> Manifest:
    """Return the usable rows of `manifest`, with notes about what was left out.

    Raises:
        DataError: nothing, or a single class, is left.
    """
    mask = np.zeros(len(manifest), dtype=np.bool_)
    mask[usable] = True
    kept = manifest.keep(mask).with_(problems=())
    after = f" after leaving out {len(problems)}: {_some_problems(problems)}" if problems else ""
    if not len(kept):
        raise DataError(f"No usable recording is left in {manifest.name}{after or '.'}")
    if len(kept.classes) == 1:
        raise DataError(
            f"Only one class, '{kept.classes[0]}', is left in {manifest.name}{after or '.'} "
            "A classifier needs at least two."
        )
    notes = list(kept.notes)
    if problems:
        _note_skipped(notes, problems, len(manifest) + len(manifest.problems), report_path)
    gone = sorted(set(manifest.classes) - set(kept.classes))
    if gone:
        notes.append(f"No recording is left of {', '.join(gone)}; they are no classes now.")
    return kept.with_(notes=tuple(notes))


def describe(manifest: Manifest, scans: list[Scan], kind: str) -> Manifest:
    """Return the manifest with a note for each odd thing seen, naming some recordings."""
    notes = list(manifest.notes)
    if kind == "header":
        notes.append(
            "dataset.check=header: recordings were not decoded. Lengths are what headers say, "
            "no window is dropped as silent, and damage shows only in training."
        )
    odd: dict[str, list[str]] = defaultdict(list)
    for name, seen in zip(manifest.table["recording"], scans, strict=True):
        for finding in seen.findings:
            odd[finding.kind].append(f"{name} ({finding.detail})")
    for what, names in sorted(odd.items()):
        notes.append(f"{what}: {counted(len(names), 'recording')}, such as {_some(names)}.")
    notes += _note_double_labels(manifest, scans)
    return manifest.with_(notes=tuple(notes))


def _note_double_labels(manifest: Manifest, scans: list[Scan]) -> list[str]:
    """Return notes about the same audio under two labels; silence is the same everywhere."""
    same: dict[str, list[int]] = defaultdict(list)
    for row, seen in enumerate(scans):
        if seen.peak > 0:
            same[seen.audio_hash].append(row)
    table = manifest.table
    clashes = [
        " = ".join(f"{table['recording'][row]} ({table['label'][row]})" for row in rows)
        for rows in same.values()
        if len({table["label"][row] for row in rows}) > 1
    ]
    if not clashes:
        return []
    return [f"The same audio has more than one label: {_some(clashes)}."]


def _note_skipped(
    notes: list[str], problems: list[Problem], num_all: int, report_path: Path | None
) -> None:
    where = ""
    if report_path is not None:
        _write_report(problems, report_path)
        where = f" All of them: {report_path}"
    notes.append(
        f"Left out {len(problems)} of {counted(num_all, 'recording')} (dataset.on_bad=skip): "
        f"{_some_problems(problems)}{where}"
    )


def _write_report(problems: list[Problem], path: Path) -> None:
    write_text(path, "".join(f"{problem.recording}\t{problem.reason}\n" for problem in problems))


def _some(items: list[str]) -> str:
    return ", ".join(items[:SHOWN_NAMES]) + (" and others" if len(items) > SHOWN_NAMES else "")


def _some_problems(problems: list[Problem]) -> str:
    more = "; ..." if len(problems) > SHOWN_NAMES else "."
    return "; ".join(str(problem) for problem in problems[:SHOWN_NAMES]) + more
