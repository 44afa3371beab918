"""A run leaves what other programs read: complete, consistent, and enough to do it again."""

from __future__ import annotations

import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score

from chirpid.cli import session
from chirpid.engine.metrics import METRIC_NAMES
from tests.e2e.line import (
    OFF,
    TINY,
    call,
    leave_out_plots,
    results_of,
    run_folder,
    run_folders,
    same_run,
    settings_of,
    train,
    weights_of,
)


def number(value: object) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def check_schema(results: dict[str, Any], *, num_folds: int) -> None:
    """Hold results.json against the shape that other programs rely on."""
    assert results["version"] == 1
    assert set(results["metrics"]) == set(METRIC_NAMES)
    for name, values in results["metrics"].items():
        assert set(values) == {"mean", "std", "pooled", "ci95"}
        if values["ci95"] is not None:
            low, high = values["ci95"]
            assert number(low)
            assert low <= values["pooled"] <= high, name
        assert (values["ci95"] is not None) == name.startswith("recording/")
    assert len(results["folds"]) == num_folds
    for fold in results["folds"]:
        assert isinstance(fold["fold"], int)
        assert isinstance(fold["epochs"], int)
        assert set(fold["metrics"]) == set(METRIC_NAMES)
        assert {"wait_share", "samples_per_s", "wait_ms_p99", "first_batch_s"} <= set(
            fold["loader"]
        )
        assert all(number(value) for value in fold["loader"].values())
    for name in ("split_hash", "config_hash"):
        assert re.fullmatch("[0-9a-f]{16}", results[name])
    assert isinstance(results["seed"], int)
    assert number(results["wall_s"])
    assert results["mlflow_run_id"] is None or isinstance(results["mlflow_run_id"], str)


def test_the_folder_holds_all_that_is_promised_and_no_leftover(straight: Path) -> None:
    found = {str(path.relative_to(straight)) for path in straight.rglob("*") if path.is_file()}
    plots = ("confusion_matrix", "folds", "learning_curves", "spectrograms")
    assert found == {
        "config.yaml", "splits.csv", "predictions.csv", "results.json", "state.json", "run.lock",
        *(f"plots/{name}.png" for name in plots),
        *(f"folds/{k}/{name}" for k in (0, 1)
          for name in ("model.pt", "checkpoint.pt", "outcome.pt", "loader_timeline.png",
                       "trace.json")),
    } | ({"git.diff"} & found)  # fmt: skip


def test_results_json_has_the_promised_shape(straight: Path) -> None:
    check_schema(results_of(straight), num_folds=2)


def test_splits_and_predictions_have_the_promised_columns_and_agree(
    straight: Path, root: Path
) -> None:
    splits = pd.read_csv(straight / "splits.csv")
    assert list(splits) == ["segment_id", "recording", "group", "label", "fold"]
    assert splits["segment_id"].is_unique
    where = splits["segment_id"].str.rpartition("@")
    assert where[0].tolist() == splits["recording"].tolist()
    first = where[2].astype(float).groupby(splits["recording"]).min()
    assert (first == 0.0).all(), "each recording is cut from its beginning"
    table = pd.read_csv(root / "metadata.csv").set_index("filename")
    predictions = pd.read_csv(straight / "predictions.csv")
    classes = sorted(set(table["label"]))
    assert list(predictions) == [
        "recording", "label", "fold", "predicted", *(f"p_{name}" for name in classes),
    ]  # fmt: skip
    assert sorted(predictions["recording"]) == sorted(table.index)
    folds = splits.groupby("recording")["fold"].unique()
    groups = splits.groupby("group")["fold"].nunique()
    assert (groups == 1).all()
    for row in predictions.itertuples():
        assert row.label == table["label"][row.recording]
        assert folds[row.recording].tolist() == [row.fold]
    probs = predictions[[f"p_{name}" for name in classes]].to_numpy()
    assert np.allclose(probs.sum(axis=1), 1, atol=1e-5)
    assert [classes[i] for i in probs.argmax(axis=1)] == predictions["predicted"].tolist()


def test_the_metrics_can_be_found_again_from_the_predictions(straight: Path) -> None:
    """By another library, from the file alone: mean and deviation over folds, pooled over all."""
    table, results = pd.read_csv(straight / "predictions.csv"), results_of(straight)
    for name, score in (
        ("recording/accuracy", accuracy_score),
        ("recording/macro_f1", lambda a, b: f1_score(a, b, average="macro", labels=sorted(set(a)),
                                                     zero_division=0)),
    ):  # fmt: skip
        by_fold = [score(part["label"], part["predicted"]) for _, part in table.groupby("fold")]
        found = results["metrics"][name]
        assert found["mean"] == pytest.approx(np.mean(by_fold))
        assert found["std"] == pytest.approx(np.std(by_fold, ddof=1))
        assert found["pooled"] == pytest.approx(score(table["label"], table["predicted"]))
        assert [fold["metrics"][name] for fold in results["folds"]] == pytest.approx(by_fold)


def test_the_config_of_a_run_gives_the_run_again(
    straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolved = settings_of(straight)
    monkeypatch.chdir(tmp_path)
    resolved.config.paths.outputs = "again"
    session.train(resolved)
    again = run_folder(tmp_path / "again")
    assert same_run(straight, again)
    assert results_of(again)["config_hash"] == results_of(straight)["config_hash"]


def test_the_saved_models_name_their_classes(straight: Path) -> None:
    for path in straight.glob("folds/*/model.pt"):
        model = torch.load(path)
        assert model["classes"] == ["bird 0", "bird 1", "bird 2"]
        assert "normaliser.mean_M" in model["state"]


def test_nothing_is_written_outside_of_outputs(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    before = sorted(root.rglob("*"))
    assert train(root, Path("out"), "engine.epochs=1", "cv.folds=[0]").code == 0
    assert [p.name for p in Path.cwd().iterdir()] == ["out"]
    assert sorted(root.rglob("*")) == before


def test_explain_prints_the_plan_and_writes_no_run(root: Path, tmp_path: Path) -> None:
    ended = train(root, tmp_path, "explain=true")
    assert ended.code == 0
    assert "Loader plan" in ended.out
    assert "command line" in ended.out
    assert not run_folders(tmp_path)


@pytest.fixture(scope="module")
def swept(root: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The run folders of all modes with no and two workers, as one sweep."""
    outputs = tmp_path_factory.mktemp("swept")
    with pytest.MonkeyPatch.context() as patch:
        leave_out_plots(patch)
        ended = call(
            "train", "-m", *TINY, OFF, "model.params.width=4", f"dataset.root={root}",
            f"paths.outputs={outputs}", "mode=lazy,eager,cached,streaming",
            "loader.num_workers=0,2", "mode.shard_segments=7",
        )  # fmt: skip
    assert ended.code == 0, ended.err
    assert "Sweep of 8 jobs" in ended.out
    return run_folders(outputs)


def test_all_modes_and_worker_counts_give_one_result(swept: list[Path]) -> None:
    assert len(swept) == 8
    modes = {settings_of(folder).config.mode.name.value for folder in swept}
    assert modes == {"lazy", "eager", "cached", "streaming"}
    assert len({settings_of(folder).config.loader.num_workers for folder in swept}) == 2
    for folder in swept[1:]:
        assert same_run(swept[0], folder), folder


def test_worker_processes_give_the_same_result(root: Path, straight: Path, tmp_path: Path) -> None:
    ended = train(root, tmp_path, "loader.backend=processes", "loader.num_workers=1", "mode=lazy")
    assert ended.code == 0, ended.err
    assert same_run(straight, run_folder(tmp_path))


VARIANTS: dict[str, tuple[list[str], int]] = {
    "pcen": (["frontend=pcen"], 2),
    "waveforms": (["mode.keep=waveform", "augment.noise_db=-50"], 2),
    "waveforms through pcen": (["frontend=pcen", "mode.keep=waveform"], 2),
    "waveforms, lazily": (["mode=lazy", "mode.keep=waveform"], 2),
    "hold-out": (["cv=holdout"], 1),
    "some folds": (["cv.folds=[1]"], 1),
    "few batches": (["engine.max_batches=1"], 2),
    "one class a fold": (["cv.num_folds=4"], 4),
    "no statistics": (["frontend.normalise=none"], 2),
    "clip median": (["frontend.clip_median=true"], 2),
    "no bootstrap": (["engine.bootstrap_samples=0"], 2),
    "device policy": (["loader=device", "mode=eager"], 2),
    "everything loud": (["augment=strong", "augment.freq_mask_bands=4",
                         "augment.time_mask_s=0.2", "augment.time_shift_s=0.3"], 2),
}  # fmt: skip


@pytest.mark.usefixtures("no_plots")
@pytest.mark.parametrize("case", VARIANTS)
def test_other_ways_through_the_line_end_well(root: Path, tmp_path: Path, case: str) -> None:
    more, num_folds = VARIANTS[case]
    ended = train(root, tmp_path, "engine.epochs=1", *more)
    assert ended.code == 0, ended.err
    results = results_of(run_folder(tmp_path))
    assert len(results["folds"]) == num_folds
    if num_folds == 1:
        assert results["metrics"]["recording/accuracy"]["std"] is None
    if case == "no bootstrap":
        assert results["metrics"]["recording/accuracy"]["ci95"] is None
    for value in weights_of(run_folder(tmp_path)).values():
        assert torch.isfinite(value.float()).all()


def test_a_class_that_a_fold_lacks_leaves_no_nan_in_json(root: Path, tmp_path: Path) -> None:
    """A fold with a single class: no ranking against others can be scored."""
    folder = shutil.copytree(root, tmp_path / "set")
    table = pd.read_csv(folder / "metadata.csv")
    table["fold"] = [1, 2, 2] * 2 + [2] * 6
    table.to_csv(folder / "metadata.csv", index=False)
    ended = train(folder, tmp_path / "out", "cv=predefined", "dataset.fold_column=fold")
    assert ended.code == 0, ended.err
    text = (run_folder(tmp_path / "out") / "results.json").read_text()
    assert "NaN" not in text
    results = results_of(run_folder(tmp_path / "out"))
    assert results["folds"][0]["metrics"]["recording/macro_auroc"] is None
    assert results["metrics"]["recording/macro_auroc"]["mean"] is not None


def test_relative_and_odd_paths_are_the_users(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = "Vögel [x] =, 1"
    shutil.copytree(root, tmp_path / odd)
    monkeypatch.chdir(tmp_path)
    ended = train(
        Path(f"'{odd}'"), Path(f"'{odd}/out [/b]'"), "name='run [bold] ä'", "engine.epochs=1"
    )
    assert ended.code == 0, ended.err
    assert "[/b]" in ended.out
    check_schema(results_of(run_folder(tmp_path / odd / "out [/b]")), num_folds=2)
