from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from chirpid.reports.sweep import (
    SweepJob,
    against,
    all_against,
    by_speed,
    fastest_of,
    headline_of,
    read_jobs,
    same_score,
    settings,
    sweep_job,
    write_job,
)
from chirpid.reports.sweep_page import markdown, write_tables
from chirpid.reports.sweep_plot import MOST_ROWS, shown, sweep_speed
from tests.reports.test_plots import colour_share


def job(
    number: int, mode: str, wait_s: float, step_s: float, score: float = 0.5, bound: str = "model"
) -> SweepJob:
    overrides, stages_s = (f"mode={mode}", "engine=tiny"), {"decode": 2.0, "frontend": 0.5}
    return SweepJob(number, overrides, 100 / (wait_s + step_s), wait_s, step_s, stages_s, score,
                    (0.4, 0.6), 9.0, "id", bound)  # fmt: skip


CACHED, LAZY = job(1, "cached", 0.0, 1.0), job(2, "lazy", 0.5, 1.5, bound="decode")


def test_rates_are_samples_over_seconds_of_all_epochs() -> None:
    epochs = [{"loader/samples_per_s": 100.0, "loader/wait_ms_mean": 50.0, "loader/step_ms": 50.0,
               "loader/decode_ms_per_sample": 2.0, "valid/loss": 1.0, "loader/others_cores": 0.5},
              {"loader/samples_per_s": 20.0, "loader/wait_ms_mean": 150.0, "loader/step_ms": 350.0,
               "loader/decode_ms_per_sample": 4.0, "loader/others_cores": 1.0}]  # fmt: skip
    results: dict[str, Any] = {
        "metrics": {"m": {"mean": 0.3, "pooled": 0.4, "ci95": [0.2, 0.6]}}, "wall_s": 7.0,
        "advice": {"bound": "front end"},
        "plan": {"mode": "lazy", "backend": "threads", "num_workers": 2, "prefetch": 4},
    }  # fmt: skip
    found = sweep_job(3, ["mode=lazy"], results, epochs=epochs, num_batches=10, metric="m")
    assert found is not None
    assert (found.wait_s, found.step_s) == (1.0, 2.0)
    assert found.samples_per_s == pytest.approx(100 / 3.0)
    assert found.stages_s == {"decode": pytest.approx(0.3)}
    assert (found.score, found.ci95, found.bound) == (0.4, (0.2, 0.6), "front end")
    assert found.bound_by == "the front end"
    assert found.loading == "lazy, 2 threads"
    assert found.epoch_error_s == pytest.approx(2.0), "epochs of 1 s and 5 s"
    assert found.others_cores == pytest.approx(0.75)
    assert sweep_job(3, [], results, epochs=[], num_batches=10, metric="m") is None


def test_the_fastest_is_named_with_what_bound_it_and_where_others_lose_time() -> None:
    jobs = [LAZY, CACHED]
    assert by_speed(jobs) == [CACHED, LAZY]
    assert settings(jobs) == {1: "mode=cached", 2: "mode=lazy"}
    assert (CACHED.bound_by, LAZY.bound_by) == ("the model", "decoding")
    assert against(LAZY, CACHED) == "+0.50 s waiting, +0.50 s in steps"
    assert headline_of(jobs) == (
        "mode=cached is fastest: 100 samples/s, 2.00 × the slowest",
        "waits 0.0 % of the time, bound by the model · slowest mode=lazy: +0.50 s waiting,"
        " +0.50 s in steps an epoch · the same score in all",
    )
    assert not same_score([CACHED, job(3, "eager", 0.0, 1.0, score=0.5000001)])
    page = markdown(jobs, metric="f1", plot="PICTURE", charts="CHARTS")
    assert page.index("| [mode=cached](") < page.index("| [mode=lazy](")
    assert "![where the time went](PICTURE)" in page
    assert "(CHARTS)" in page


def test_no_job_is_called_the_fastest_that_was_too_short_to_tell() -> None:
    short = [job(n, mode, 0.1 * n, 1.0, bound="unknown") for n, mode in ((1, "lazy"), (2, "eager"))]
    assert fastest_of(short) is None
    assert headline_of(short) == (
        "None of the 2 jobs lasted long enough to tell which is the fastest",
        "longer epochs, or more of them, would tell · the same score in all",
    )
    page = markdown(short, metric="f1", plot="PICTURE", charts="CHARTS")
    assert "is fastest" not in page
    assert page.count("| &ensp;too short to tell | &ensp;too short to tell |") == 2
    assert headline_of([*short, LAZY])[0].startswith("Only one of the 3 jobs lasted long")
    assert headline_of(short[:1])[0] == "mode=lazy engine=tiny was too short to tell how fast it is"


def test_a_short_job_is_not_the_fastest_of_those_that_can_be_told() -> None:
    jobs = [LAZY, CACHED, job(3, "eager", 0.0, 0.001, bound="unknown")]
    assert by_speed(jobs)[0].number == 3
    assert fastest_of(jobs) is CACHED
    title, note = headline_of(jobs)
    assert title == "mode=cached is fastest: 100 samples/s, 2.00 × the slowest"
    assert "· slowest mode=lazy" in note
    assert "· 1 too short to tell" in note
    assert against(jobs[2], CACHED) == "too short to tell"
    assert fastest_of(jobs[:1]) is LAZY


def test_no_job_is_called_the_fastest_where_its_epochs_vary_as_much_as_jobs_differ() -> None:
    jobs = [replace(one, epoch_error_s=0.4) for one in (LAZY, CACHED)]
    assert fastest_of(jobs) is None
    assert headline_of(jobs) == (
        "2 jobs cannot be told apart: 50 to 100 samples/s",
        "the epochs of a job vary as much as jobs differ: more of them would tell"
        " · the same score in all",
    )
    assert set(all_against(jobs).values()) == {"cannot be told apart"}
    page = markdown(jobs, metric="f1", plot="PICTURE", charts="CHARTS")
    assert "is fastest" not in page
    assert page.count("| &ensp;cannot be told apart |") == 2


def test_a_job_that_is_surely_slower_is_named_where_the_fastest_is_one_of_several() -> None:
    near = replace(job(3, "eager", 0.0, 1.1), epoch_error_s=0.05)
    jobs = [LAZY, near, replace(CACHED, epoch_error_s=0.05)]
    assert fastest_of(jobs) is None
    title, note = headline_of(jobs)
    assert title == "mode=cached or mode=eager is fastest: 100 samples/s"
    assert "slowest mode=lazy: +0.50 s waiting, +0.50 s in steps an epoch" in note
    assert all_against(jobs) == {
        1: "cannot be told apart",
        2: "+0.50 s waiting, +0.50 s in steps",
        3: "cannot be told apart",
    }


@pytest.mark.parametrize("error_s", [0.0, 0.1, 0.2])
def test_the_fastest_is_named_as_long_as_epochs_vary_less_than_jobs_differ(error_s: float) -> None:
    jobs = [replace(one, epoch_error_s=error_s) for one in (LAZY, CACHED)]
    assert fastest_of(jobs) is jobs[1]
    assert all_against(jobs)[CACHED.number] == "fastest"


@pytest.mark.parametrize(
    ("cores", "said"),
    [
        ((0.0, 0.2), None),
        ((0.3, 0.3), "other programs took 0.3 cores meanwhile: compare on a quiet machine"),
        ((0.0, 1.3), "other programs took 0.0 to 1.3 cores meanwhile: compare on a quiet machine"),
    ],
)
def test_programs_that_took_cores_from_the_jobs_are_told_with_the_answer(
    cores: tuple[float, float], said: str | None
) -> None:
    jobs = [replace(one, others_cores=n) for one, n in zip((LAZY, CACHED), cores, strict=True)]
    note = headline_of(jobs)[1]
    assert ("other programs" in note) == (said is not None)
    assert said is None or f" · {said} · " in note


def test_jobs_written_before_errors_were_kept_are_read(tmp_path: Path) -> None:
    write_job(tmp_path, LAZY)
    path = tmp_path / "job-2.json"
    about = json.loads(path.read_text())
    del about["epoch_error_s"], about["others_cores"]
    path.write_text(json.dumps(about))
    assert read_jobs(tmp_path) == [LAZY]


def test_jobs_of_other_processes_are_found_and_tabled_by_speed(tmp_path: Path) -> None:
    for one in (LAZY, CACHED):
        write_job(tmp_path, one)
    assert read_jobs(tmp_path) == [CACHED, LAZY]
    write_tables([LAZY, CACHED], tmp_path / "t.csv", tmp_path / "t.json")
    with open(tmp_path / "t.csv", encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [row["settings"] for row in rows] == ["mode=cached", "mode=lazy"]
    assert rows[1]["decode_core_s"] == "2.0"
    shown = json.loads((tmp_path / "t.json").read_text())
    assert [dict(zip(shown["columns"], row, strict=True))["job"] for row in shown["data"]] == [1, 2]


def test_time_spent_waiting_is_seen_in_the_picture(tmp_path: Path) -> None:
    shares = []
    for name, waiting in (("fed", 0.0), ("starved", 3.0)):
        path = tmp_path / f"{name}.png"
        sweep_speed([CACHED, job(2, "lazy", waiting, 1.0)], path, metric="f1", dpi=60)
        shares.append(colour_share(path, 0xD5, 0x5E, 0x00))
    assert shares[1] > 10 * shares[0]
    with pytest.raises(ValueError, match="no job"):
        sweep_speed([], tmp_path / "none.png", metric="f1")
    assert not (tmp_path / "none.png").exists()


def test_a_long_answer_is_not_cut_at_the_edge_of_the_picture(tmp_path: Path) -> None:
    long = [f"augment.{'x' * 60}={n} loader=auto" for n in range(2)]
    pictures = [job(n + 1, name, n, 1.0) for n, name in enumerate(long)]
    path = tmp_path / "long.png"
    sweep_speed([replace(one, others_cores=1.3) for one in pictures], path, metric="f1", dpi=60)
    edge_HWC = imread(path)[: int(0.7 * 60), -6:, :3]
    assert edge_HWC.min() > 0.98, "letters reach the right edge"


def test_a_thousand_jobs_fit_into_a_description_and_a_picture() -> None:
    jobs = [job(n, f"mode-{n}", 0.001 * n, 1.0) for n in range(1, 1001)]
    text = markdown(jobs, metric="m", plot="PLOT", charts="CHARTS")
    assert len(text) <= 7000
    assert "(PLOT)" in text
    assert "(CHARTS)" in text
    rows = sum(line.startswith("| [mode=") for line in text.splitlines())
    assert rows > 20
    assert f"{1000 - rows} slower jobs are in sweep/sweep.csv." in text
    drawn = shown(jobs)
    assert [one.number for one in drawn] == [*range(1, MOST_ROWS), 1000]
    assert shown(jobs[:MOST_ROWS]) == jobs[:MOST_ROWS]
