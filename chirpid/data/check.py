"""Look at every recording before training, so that none is found bad halfway through an epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chirpid.audio.files import UnusableRecordingError
from chirpid.audio.scan import Scan, scan, scan_header
from chirpid.data.check_notes import describe, refuse_or_note, stop_if_bad
from chirpid.data.manifest import Manifest, Problem
from chirpid.data.scan_store import ScanStore, Stamp, stamp_of
from chirpid.data.segments import build_order
from chirpid.errors import ConfigError
from chirpid.types import OnBad

Progress = Callable[[int, int], None]
Look = Callable[[Path], Scan]
Result = Scan | UnusableRecordingError

KINDS = {"full": scan, "header": scan_header}
SAVE_S = 2.0
"""Scans are written down this often; a kill -9 loses no more."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Recordings that can be trained on."""

    manifest: Manifest
    """With the columns of `CHECKED_COLUMNS`, and notes about what was odd or left out."""
    levels: list[npt.NDArray[np.float32]]
    """RMS level in dBFS of each recording's mono signal, one value a quarter second; all 0 if only
    headers were looked at."""
    problems: list[Problem]
    """What could not be used and was left out."""
    num_decoded: int
    """Recordings that were looked at now; the others were remembered."""


def check_recordings(
    manifest: Manifest,
    *,
    kind: str = "full",
    on_bad: OnBad = OnBad.stop,
    min_s: float = 0.2,
    memory_path: Path | None = None,
    num_workers: int = 2,
    progress: Progress | None = None,
    report_path: Path | None = None,
) -> Checked:
    """Return the recordings of `manifest` that can be used, with what their files hold.

    Args:
        kind: "full" decodes each file once; "header" trusts the headers, so that lengths may be
            wrong, levels are unknown and damage shows only in training.
        on_bad: stop with all problems named, or leave those recordings out.
        min_s: shorter recordings are problems.
        memory_path: SQLite file of earlier full scans; None remembers nothing.
        num_workers: threads that decode (libsndfile releases the interpreter's lock).
        progress: called in this thread with (recordings looked at, all recordings).
        report_path: where the list of all problems is written, if there are any.
    Raises:
        DataError: problems and `on_bad` is stop; or nothing or a single class is left.
        ConfigError: unknown `kind`.
    """
    if kind not in KINDS:
        raise ConfigError(f"dataset.check={kind} is unknown. Choose full or header.")
    store = ScanStore(memory_path) if memory_path is not None and kind == "full" else None
    paths = manifest.paths
    tell = progress or (lambda done, total: None)
    try:
        results, new = _recall(manifest.table["recording"].tolist(), paths, store)
        tell(len(results), len(paths))
        for row, result in _look_and_save(new, KINDS[kind], num_workers, store):
            results[row] = result
            tell(len(results), len(paths))
    finally:
        if store is not None:
            store.close()
    troubles = (store.trouble,) if store is not None and store.trouble else ()
    scans, found = _judge(manifest, [results[row] for row in range(len(paths))], min_s)
    problems = [*_look_at_problems(manifest, KINDS[kind], min_s), *found]
    stop_if_bad(problems, len(manifest) + len(manifest.problems), OnBad(on_bad), report_path)
    noted = manifest.with_(notes=(*manifest.notes, *troubles))
    checked = _fill_in(refuse_or_note(noted, list(scans), problems, report_path), scans)
    described = describe(checked, list(scans.values()), kind)
    return Checked(described, [seen.levels for seen in scans.values()], problems, len(new))


def _recall(
    names: Sequence[str], paths: list[Path], store: ScanStore | None
) -> tuple[dict[int, Result], dict[int, Path]]:
    """Return remembered scans by row, and the paths of the other rows, as they are to be read.

    What is built of them later reads them by the hash of their names. Where RAM does not hold all
    of them, those that come first then should be those that were read last.
    """
    known: dict[int, Result] = {}
    for row, path in enumerate(paths):
        stamp = stamp_of(path) if store is not None else None
        if store is not None and stamp is not None and (remembered := store.get(stamp)):
            known[row] = remembered
    new = (row for row in build_order(names)[::-1].tolist() if row not in known)
    return known, {row: paths[row] for row in new}


def _look_and_save(
    paths: dict[int, Path], look: Look, num_workers: int, store: ScanStore | None
) -> Iterator[tuple[int, Result]]:
    """Yield what is seen of each path as it comes, and write it to the store every few seconds."""
    unsaved: list[tuple[Stamp, Scan]] = []
    saved_at = time.monotonic()
    try:
        for row, stamp, result in _in_threads(paths, look, num_workers):
            if stamp is not None and isinstance(result, Scan):
                unsaved.append((stamp, result))
            if store is not None and time.monotonic() - saved_at > SAVE_S:
                store.put(unsaved)
                unsaved, saved_at = [], time.monotonic()
            yield row, result
    finally:
        if store is not None:
            store.put(unsaved)


def _in_threads(
    paths: dict[int, Path], look: Look, num_workers: int
) -> Iterator[tuple[int, Stamp | None, Result]]:
    """Yield (row, stamp, result) as they are done, with few recordings under way at a time."""

    def work(row: int, path: Path) -> tuple[int, Stamp | None, Result]:
        # the stamp comes first: a file that changes while it is read is read again next time
        stamp = stamp_of(path)
        try:
            return row, stamp, look(path)
        except UnusableRecordingError as error:
            return row, stamp, error

    waiting = iter(paths.items())
    pool = ThreadPoolExecutor(max(1, num_workers), thread_name_prefix="check")
    under_way: set[Future[tuple[int, Stamp | None, Result]]] = set()
    try:
        while True:
            free = 4 * max(1, num_workers) - len(under_way)
            under_way |= {pool.submit(work, *item) for item in islice(waiting, free)}
            if not under_way:
                return
            done, under_way = wait(under_way, return_when=FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _judge(
    manifest: Manifest, results: list[Result], min_s: float
) -> tuple[dict[int, Scan], list[Problem]]:
    """Return the scans of usable recordings by row, and what is wrong with the others."""
    scans: dict[int, Scan] = {}
    problems = []
    for row, result in enumerate(results):
        reason = _why_unusable(result, min_s)
        if reason:
            problems.append(Problem(str(manifest.table["recording"].iloc[row]), reason))
        elif isinstance(result, Scan):
            scans[row] = result
    return scans, problems


def _why_unusable(result: Result, min_s: float) -> str:
    if isinstance(result, UnusableRecordingError):
        return result.reason
    if not result.num_frames:
        return "holds no samples, only a header"
    if result.duration_s < min_s:
        return f"lasts {result.duration_s:.3g} s, under segment.min_s={min_s:g}"
    return ""


def _look_at_problems(manifest: Manifest, look: Look, min_s: float) -> list[Problem]:
    """Return the problems of the table, with what is wrong with the files they are about."""
    problems = []
    for problem in manifest.problems:
        if problem.exists:
            result: Result
            try:
                result = look(manifest.root / problem.recording)
            except UnusableRecordingError as error:
                result = error
            reasons = (problem.reason, _why_unusable(result, min_s))
            problem = replace(problem, reason=", and ".join(filter(None, reasons)))
        problems.append(problem)
    return problems


def _fill_in(manifest: Manifest, scans: dict[int, Scan]) -> Manifest:
    """Return the manifest with the columns that only the recordings could tell."""
    table = manifest.table.copy()
    seen = list(scans.values())
    for column in ("sample_rate_hz", "num_frames", "num_channels", "channel"):
        table[column] = np.asarray([getattr(one, column) for one in seen], dtype=np.int64)
    for column in ("format", "file_hash", "audio_hash"):
        table[column] = [getattr(one, column) for one in seen]
    return manifest.with_(table=table)
