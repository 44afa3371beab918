"""What a finished run is told follows from its figures, fits its budgets, and can be typed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from chirpid.cli import advising
from chirpid.cli.prepare import Prepared, prepare
from chirpid.config.store import compose
from chirpid.engine.rule import FoldOutcome
from chirpid.loading.monitor import Recording
from tests.page_commands import DEMO, FAST

DECODING = {
    "loader/samples_per_s": 20.0, "loader/wait_share": 0.8, "loader/cpu_share": 1.0,
    "loader/fetch_cpu_share": 0.8, "loader/decode_ms_per_sample": 40.0, "loader/disk_mib": 0.0,
}  # fmt: skip


def prepared_with(folder: Path, *words: str) -> Prepared:
    few = ["engine.max_batches=null", "engine.epochs=40", "cv.num_folds=3", "tracking=off"]
    place = f"paths.outputs={folder}"
    resolved = compose([*FAST, *DEMO, *few, place, *words])
    return prepare(resolved.config, Console(quiet=True), resolved.given)


def outcome(figures: dict[str, float], epochs: int) -> FoldOutcome:
    nothing = np.zeros(0, np.int64)
    return FoldOutcome(
        0, {}, nothing, np.zeros((0, 2)), [{}] * epochs, figures, Recording(), 0, 1.0
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("outputs")


def test_a_decoding_run_is_told_to_keep_its_rows_and_what_is_told_can_be_typed(
    place: Path,
) -> None:
    words = ("mode=lazy", "loader=balanced", "loader.backend=inline")
    prepared = prepared_with(place, *words)
    told = advising.results(prepared, [outcome(DECODING, 40)] * 3, whole=True)
    advice = told["advice"]
    assert advice["bound"] == "decode"
    assert advice["overrides"][0] in ("mode=cached", "mode=eager")
    assert 4 < advice["predicted_gain"] <= 5
    assert advice["bound_share"] == pytest.approx(0.5, abs=0.35)
    assert advising.tags(told) == dict.fromkeys(
        ("chirpid.advice", "mlflow.note.content"), advice["sentence"]
    )
    assert advising.line(told) == f"advice: {advice['sentence']}"
    assert 0 < advising.metrics(told)["loader/bound_share"] <= 1
    followed = prepared_with(place, *words, *advice["overrides"])
    assert f"mode={followed.config.mode.name.value}" == advice["overrides"][0]
    assert followed.plan.backend.value.value == "inline"


def test_budgets_in_the_way_are_raised_to_what_is_enough(place: Path) -> None:
    words = ["mode=lazy", "loader=balanced", "loader.backend=inline", "loader.batch_size=2"]
    work = advising.work_now(prepared_with(place, *words))
    too_little = 2 * work.batch_bytes + work.store_bytes // 2
    words += [f"memory.budget_gib={too_little / 2**30}", f"mode.cache_gib={too_little / 2**33}"]
    prepared = prepared_with(place, *words)
    advice = advising.results(prepared, [outcome(DECODING, 40)] * 3, whole=True)["advice"]
    assert any("_gib=" in one for one in advice["overrides"]), advice
    followed = prepared_with(place, *words, *advice["overrides"])
    followed.check_fit()
    assert followed.config.mode.name.value in ("cached", "eager")


def test_short_runs_are_promised_nothing(place: Path) -> None:
    prepared = prepared_with(place, "mode=lazy", "loader=balanced")
    for outcomes in ([], [outcome({}, 40)], [outcome(DECODING, 1)],
                     [outcome(DECODING | {"loader/samples_per_s": 1e5}, 40)]):  # fmt: skip
        told = advising.results(prepared, outcomes, whole=True)
        assert (told["advice"]["bound"], told["advice"]["overrides"]) == ("unknown", [])
        assert advising.line(told) is None
        assert advising.tags(told) == advising.metrics(told) == {}


def test_a_prediction_that_was_off_is_told_of_a_short_run_too(place: Path) -> None:
    prepared = prepared_with(place, "loader=auto", "loader.probe_s=0.2", "engine.max_batches=1")
    assert prepared.tuned is not None
    rate = 3 * prepared.tuned.pick.prediction.samples_per_s
    told = advising.results(prepared, [outcome({"loader/samples_per_s": rate}, 1)], whole=True)
    said = advising.line(told)
    assert said is not None
    assert said.startswith("advice: The run was too short")
    assert said.endswith(f", it was {rate:.0f}. The next run probes again.")
    tags = ("chirpid.advice", "mlflow.note.content")
    assert advising.tags(told) == dict.fromkeys(tags, told["advice"]["sentence"])


def test_a_run_is_kept_whose_figures_cannot_be_understood(place: Path) -> None:
    prepared = prepared_with(place, "mode=lazy", "loader=balanced")
    told = advising.results(prepared, [outcome({"loader/samples_per_s": 9.0}, 40)], whole=True)
    assert told["advice"]["sentence"].startswith("Nothing can be said of this run: KeyError: ")
    assert (told["advice"]["bound"], told["advice"]["overrides"]) == ("failed", [])
