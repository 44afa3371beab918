"""No number flatters: what is optimistic or leaks says so, and a fold never chooses its model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.e2e.line import (
    PACKAGE,
    results_of,
    run_folder,
    same_run,
    train,
    weights_of,
)
from tests.sounds import write_set

pytestmark = pytest.mark.usefixtures("no_plots")


def test_choosing_the_epoch_on_the_fold_is_labelled_optimistic(root: Path, tmp_path: Path) -> None:
    ended = train(root, tmp_path, "engine.selection=fold")
    assert ended.code == 0
    assert results_of(run_folder(tmp_path))["optimistic"] is True
    assert "Optimistic: the epoch was chosen on the fold" in ended.out


@pytest.mark.parametrize("by", ["segment", "recording"])
def test_folds_that_leak_say_so(root: Path, tmp_path: Path, by: str) -> None:
    ended = train(root, tmp_path, f"cv.group_by={by}")
    assert ended.code == 0
    assert results_of(run_folder(tmp_path))["leaky"] is True
    assert results_of(run_folder(tmp_path))["num_recordings"] == 12
    assert "leak" in ended.out.partition("fold 0")[0], "told before the training"
    assert "Do not report them" in ended.out


def test_an_honest_run_is_not_labelled(straight: Path) -> None:
    results = results_of(straight)
    assert (results["leaky"], results["optimistic"], results["synthetic"]) == (False,) * 3


def test_the_inner_selection_never_looks_at_the_fold(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lie about every label of the fold: the same epoch is chosen, with the same weights."""
    from chirpid.engine.engine import TrainingEngine

    more = ("engine.selection=inner", "engine.epochs=5", "engine.patience=2", "cv.folds=[0]",
            "engine.inner_fraction=0.4")  # fmt: skip
    assert train(root, tmp_path / "true", *more).code == 0
    before = TrainingEngine._run_fold

    def lied_to(self: TrainingEngine, fold: int, stop: object) -> object:
        valid = self.bench.folds.valid_ids(fold)
        task = self.bench.task
        task.label_N[valid] = (task.label_N[valid] + 1) % len(task.classes)
        task.target_NC[valid] = task.target_NC[valid].roll(1, dims=1)
        return before(self, fold, stop)  # type: ignore[arg-type]

    monkeypatch.setattr(TrainingEngine, "_run_fold", lied_to)
    assert train(root, tmp_path / "false", *more).code == 0
    true, false = run_folder(tmp_path / "true"), run_folder(tmp_path / "false")
    left, right = weights_of(true), weights_of(false)
    assert all((left[name] == right[name]).all() for name in left)
    best = [results_of(folder)["folds"][0]["best_epoch"] for folder in (true, false)]
    assert best[0] == best[1]
    probs = [pd.read_csv(f / "predictions.csv").filter(like="p_") for f in (true, false)]
    assert (probs[0].to_numpy() == probs[1].to_numpy()).all()


def test_validation_is_whole_whatever_the_batches_of_training_drop(
    root: Path, tmp_path: Path
) -> None:
    more = ("loader.drop_last=true", "loader.batch_size=16", "loader.eval_batch_size=500")
    assert train(root, tmp_path, *more, "engine.epochs=1").code == 0
    splits = pd.read_csv(run_folder(tmp_path) / "splits.csv")
    predictions = pd.read_csv(run_folder(tmp_path) / "predictions.csv")
    assert sorted(predictions["recording"]) == sorted(splits["recording"].unique())


def test_validation_is_not_augmented(root: Path, tmp_path: Path) -> None:
    """With a learning rate of nearly nothing, only augmentation could tell two runs apart."""
    still = ("optim.lr=1e-30", "optim.weight_decay=0", "engine.epochs=1", "cv.folds=[0]")
    loud = ("augment=strong", "augment.freq_mask_bands=4", "augment.time_mask_s=0.2",
            "augment.time_shift_s=0.3")  # fmt: skip
    assert train(root, tmp_path / "a", *still, "augment=none", *_no_running()).code == 0
    assert train(root, tmp_path / "b", *still, *loud, *_no_running()).code == 0
    a, b = ((run_folder(tmp_path / name) / "predictions.csv").read_text() for name in "ab")
    assert a == b


def _no_running() -> tuple[str, ...]:
    """Leave out batch normalisation, whose running means follow what is trained on."""
    return ("--config-dir", str(PACKAGE / "tests/e2e/conf"), "model=plain")


def test_a_fold_alone_is_the_fold_of_the_whole_run(
    root: Path, straight: Path, tmp_path: Path
) -> None:
    assert train(root, tmp_path, "cv.folds=[1]").code == 0
    whole, alone = weights_of(straight), weights_of(run_folder(tmp_path))
    assert {name for name in whole if name.startswith("1/")} == set(alone)
    assert all((whole[name] == alone[name]).all() for name in alone)
    table = pd.read_csv(straight / "predictions.csv")
    one = pd.read_csv(run_folder(tmp_path) / "predictions.csv")
    pd.testing.assert_frame_equal(one, table[table["fold"] == 1].reset_index(drop=True))


def test_secondary_species_change_the_targets_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As BirdCLEF writes them: the primary one counts 1, a secondary one its weight, sum 1."""
    from chirpid.cli import session

    folder = write_set(tmp_path / "set")
    table = pd.read_csv(folder / "metadata.csv")
    table["others"] = ["['bird 1', 'bird 2']", "[]", "['no such bird']"] + ["[]"] * 9
    table = table.rename(columns={"filename": "filename", "label": "primary_label",
                                  "group": "author", "others": "secondary_labels"})  # fmt: skip
    table.to_csv(folder / "train_metadata.csv", index=False)
    (folder / "audio").rename(folder / "train_audio")
    table["filename"] = table["filename"].str.removeprefix("audio/")
    table.to_csv(folder / "train_metadata.csv", index=False)
    kept = []
    before = session.prepare

    def prepare(*args: object) -> object:
        kept.append(before(*args))  # type: ignore[arg-type]
        return kept[-1]

    monkeypatch.setattr(session, "prepare", prepare)
    more = ("dataset=birdclef", "engine.epochs=1")
    assert train(folder, tmp_path / "with", *more, "dataset.secondary_weight=0.5").code == 0
    assert train(folder, tmp_path / "without", *more).code == 0
    weighed, plain = kept
    names = [weighed.segments.name(i).rpartition("@")[0] for i in range(len(weighed.segments))]
    first = [i for i, name in enumerate(names) if name.endswith("000.wav")]
    assert np.allclose(weighed.task.target_NC[first], [0.5, 0.25, 0.25])
    others = [i for i in range(len(names)) if i not in first]
    assert (weighed.task.target_NC[others] == plain.task.target_NC[others]).all()
    assert (plain.task.target_NC.max(dim=1).values == 1).all()
    with_, without = run_folder(tmp_path / "with"), run_folder(tmp_path / "without")
    assert not same_run(with_, without)


def test_official_folds_are_used_as_they_are(tmp_path: Path) -> None:
    """As ESC-50 has them: five folds in a column, counted from 1."""
    folder = write_set(tmp_path / "set", groups=5)
    table = pd.read_csv(folder / "metadata.csv")
    table["fold"] = table["group"].str[-1].astype(int) % 5 + 1
    table["filename"] = table["filename"].str.removeprefix("audio/")
    (folder / "meta").mkdir()
    table = table.rename(columns={"label": "category", "group": "src_file"})
    table.to_csv(folder / "meta/esc50.csv", index=False)
    ended = train(folder, tmp_path / "out", "dataset=esc50", "cv=predefined", "engine.epochs=1")
    assert ended.code == 0, ended.err
    results = results_of(run_folder(tmp_path / "out"))
    assert [fold["fold"] for fold in results["folds"]] == [0, 1, 2, 3, 4]
    splits = pd.read_csv(run_folder(tmp_path / "out") / "splits.csv")
    official = table.set_index("filename")["fold"]
    for row in splits.itertuples():
        assert row.fold == official[Path(row.recording).name] - 1


OWN = """
import pandas as pd
import torch

def recordings(folder, most=99):
    table = pd.read_csv(f"{folder}/metadata.csv")
    table["filename"] = folder + "/" + table["filename"]
    return table.head(most)

class Net(torch.nn.Module):
    def __init__(self, num_classes, depth=1):
        super().__init__()
        self.body = torch.nn.Sequential(*[torch.nn.Linear(24, 24) for _ in range(depth)])
        self.head = torch.nn.Linear(24, num_classes)

    def forward(self, spec):
        return self.head(self.body(spec[:, 0].mean(dim=2)))
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, dict[str, object]], str]:
    """Write an option file of the user's, beside the user's module, and return its folder."""
    (tmp_path / "e2e_own.py").write_text(OWN)
    monkeypatch.chdir(tmp_path)

    def write(option: str, content: dict[str, object]) -> str:
        path = tmp_path / "conf" / f"{option}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
        return str(tmp_path / "conf")

    return write


def test_a_dataset_and_a_model_of_the_users_own_are_trained(
    root: Path, tmp_path: Path, own: Callable[[str, dict[str, object]], str]
) -> None:
    own("dataset/mine", {"name": "mine", "kind": "custom", "target": "e2e_own.recordings",
                         "params": {"folder": str(root)}})  # fmt: skip
    folder = own("model/mine", {"name": "mine", "target": "e2e_own.Net", "params": {"depth": 2}})
    ended = train(
        root, tmp_path / "out", "--config-dir", folder, "dataset=mine", "model=mine",
        "dataset.root=null",
    )  # fmt: skip
    assert ended.code == 0, ended.err
    results = results_of(run_folder(tmp_path / "out"))
    assert results["num_recordings"] == 12
    assert "0/network.body.1.weight" in weights_of(run_folder(tmp_path / "out"))
