"""A sweep's run names a fastest job only where there is one that can be told from another."""

from __future__ import annotations

from chirpid.cli.sweep_report import sweep_tags
from chirpid.loading.stages import UNKNOWN
from chirpid.reports.sweep import SweepJob

METRIC = "recording/macro_f1"


def job(number: int, mode: str, epoch_s: float, bound: str) -> SweepJob:
    return SweepJob(number, (f"mode={mode}",), 100 / epoch_s, 0.0, epoch_s, bound=bound)


def named(jobs: list[SweepJob]) -> dict[str, str]:
    """Return the tags that say which is the fastest, by what follows the prefix."""
    begin = "chirpid.fastest"
    tags = sweep_tags(jobs, METRIC)
    return {name.removeprefix(begin): v for name, v in tags.items() if name.startswith(begin)}


def test_no_tag_names_a_fastest_job_where_all_were_too_short_to_tell() -> None:
    short = [job(1, "lazy", 0.01, UNKNOWN), job(2, "cached", 0.02, UNKNOWN)]
    none = {"": "cannot be told", ".bound_by": "", ".samples_per_s": ""}
    assert named(short) == none
    assert named([*short, job(3, "eager", 2.0, "model")]) == none, "and what was said before goes"


def test_a_tag_of_the_first_jobs_is_overwritten_or_true_to_the_end() -> None:
    first, short = job(1, "lazy", 2.0, "decode"), job(2, "eager", 0.01, UNKNOWN)
    assert named([first]) == {}, "it would stay if all that follow are too short"
    told = {"": "mode=cached", ".bound_by": "the model", ".samples_per_s": "100.0"}
    assert named([first, short, job(3, "cached", 1.0, "model")]) == told
