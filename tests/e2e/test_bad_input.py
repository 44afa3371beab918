"""What is wrong is told in one line that names it, with the right exit code and no traceback."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.e2e.line import results_of, run_folder, run_folders, train

pytestmark = pytest.mark.usefixtures("no_plots")

Change = Callable[[pd.DataFrame], pd.DataFrame]


@pytest.fixture
def changed(root: Path, tmp_path: Path) -> Callable[[Change], Path]:
    """Return a function that gives a copy of the set with another table."""

    def make(change: Change) -> Path:
        folder = shutil.copytree(root, tmp_path / "changed")
        table = change(pd.read_csv(folder / "metadata.csv"))
        table.to_csv(folder / "metadata.csv", index=False)
        return folder

    return make


def refused(root: Path, outputs: Path, more: Sequence[str], *, kind: str, code: int = 2) -> str:
    """Return the one line that a run ends with."""
    ended = train(root, outputs, *more)
    assert ended.code == code, ended
    assert ended.line.startswith(f"{kind}: "), ended.line
    return ended.line


SETTINGS = {
    "missing root": (["dataset.root=nowhere"], "data error", ["nowhere"]),
    "missing table": (["dataset.table=labels.csv"], "data error", ["labels.csv"]),
    "wrong column": (["dataset.label_column=species"], "data error", ["species", "filename"]),
    "wrong filter": (["dataset.filter='sex == 1'"], "config error", ["sex"]),
    "broken filter": (["dataset.filter='label =='"], "config error", ["dataset.filter"]),
    "filter of nothing": (["dataset.filter='label == 1'"], "data error", ["filter"]),
    "more folds than groups": (["cv.num_folds=9"], "config error", ["4", "9"]),
    "unknown model": (["model.target=chirpid.models.Nothing"], "config error", ["model.target"]),
    "unknown parameter": (["+model.params.widht=3"], "config error", ["width"]),
    "wrong parameter": (["model.params.width=wide"], "config error", ["wide"]),
    "no GPU": (["engine.device=cuda:7"], "config error", ["cuda:7", "cpu"]),
    "eager needs more": (
        ["mode=eager", "memory.budget_gib=0.00001"], "config error", ["mode=cached"],
    ),
    "cache too small": (["mode.cache_gib=0.00001"], "config error", ["mode.cache_gib", "lazy"]),
    "shards too large": (
        ["mode=streaming", "mode.cache_gib=0.00001"], "config error", ["mode.cache_gib"],
    ),
    "resume nothing": (["resume=nowhere"], "config error", ["nowhere", "resume"]),
    "no batch": (["loader.drop_last=true", "loader.batch_size=500"], "config error", ["drop_last"]),
}  # fmt: skip


@pytest.mark.parametrize("case", SETTINGS)
def test_wrong_settings_are_one_line(root: Path, tmp_path: Path, case: str) -> None:
    more, kind, words = SETTINGS[case]
    line = refused(root, tmp_path, more, kind=kind)
    assert all(word in line for word in words), line
    assert not run_folders(tmp_path), "what could not be prepared leaves no run behind"


def one_label(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(label="bird")


def one_person(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(group="Ann")


def no_rows(table: pd.DataFrame) -> pd.DataFrame:
    return table.head(0)


def one_each(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop_duplicates("label")


@pytest.mark.parametrize("change", [one_label, one_person, no_rows, one_each])
def test_a_set_that_cannot_be_split_is_one_line(
    changed: Callable[[Change], Path], tmp_path: Path, change: Change
) -> None:
    refused(changed(change), tmp_path / "out", [], kind="data error")


def test_a_class_with_one_recording_is_named_and_the_rest_is_trained(
    changed: Callable[[Change], Path], tmp_path: Path
) -> None:
    def rare(table: pd.DataFrame) -> pd.DataFrame:
        return table.assign(label=["rare bird", *table["label"][1:]])

    ended = train(changed(rare), tmp_path / "out")
    assert ended.code == 0
    assert any("note" in line and "rare bird" in line for line in ended.out.splitlines())
    results = results_of(run_folder(tmp_path / "out"))
    assert len(results["folds"]) == 2
    assert results["num_recordings"] == 12


def test_all_bad_recordings_are_named_before_anything_is_trained(
    changed: Callable[[Change], Path], tmp_path: Path
) -> None:
    folder = changed(lambda table: table)
    (folder / "audio/000.wav").write_bytes(b"")
    (folder / "audio/001.flac").write_text("this is not sound")
    (folder / "audio/002.ogg").unlink()
    ended = train(folder, tmp_path / "out")
    assert ended.code == 2
    assert ended.err.startswith("data error: ")
    assert "Traceback" not in ended.err
    assert all(name in ended.err for name in ("000.wav", "001.flac", "002.ogg"))
    assert not run_folders(tmp_path / "out")
    skipped = train(folder, tmp_path / "out", "dataset.on_bad=skip")
    assert skipped.code == 0
    assert all(name in skipped.out for name in ("000.wav", "001.flac", "002.ogg"))
    assert results_of(run_folder(tmp_path / "out"))["num_recordings"] == 9


NETS = """
import torch
class Net(torch.nn.Module):
    def __init__(self, num_classes, sick_in="train"):
        super().__init__()
        self.linear, self.sick_in = torch.nn.Linear(1, num_classes), sick_in
    def forward(self, spec):
        sick = self.training == (self.sick_in == "train")
        return self.linear(spec.mean(dim=(2, 3))) * (float("nan") if sick else 1.0)

class Narrow(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.linear = torch.nn.Linear(7, num_classes)
    def forward(self, spec):
        return self.linear(spec.flatten(1))

class Wide(torch.nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.linear = torch.nn.Linear(1, num_classes + 1)
    def forward(self, spec):
        return self.linear(spec.mean(dim=(2, 3)))

def not_a_module(num_classes):
    return num_classes

def fails(num_classes):
    raise ValueError("no such size")
"""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., list[str]]]:
    """Return a function that gives the arguments for a model of the user's own."""
    folder = tmp_path_factory.mktemp("nets")
    (folder / "e2e_nets.py").write_text(NETS)
    (folder / "conf" / "model").mkdir(parents=True)

    def use(name: str, **params: object) -> list[str]:
        option = {"name": name, "target": f"e2e_nets.{name}", "params": params}
        (folder / "conf" / "model" / f"{name}.yaml").write_text(json.dumps(option))
        return ["--config-dir", str(folder / "conf"), f"model={name}"]

    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)  # where a user's own module lies
        yield use


@pytest.mark.parametrize("sick_in", ["train", "valid"])
def test_a_model_that_gives_nan_stops_and_the_files_are_named(
    root: Path, tmp_path: Path, nets: Callable[..., list[str]], sick_in: str
) -> None:
    line = refused(root, tmp_path, nets("Net", sick_in=sick_in), kind="training error", code=1)
    assert "fold 0, epoch 0" in line
    assert line.count("audio/") >= 4
    assert "@0.000" in line or "@1.000" in line


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Narrow", ["[B, 1, 24, 63]", "mat1 and mat2"]),
        ("Wide", ["4", "3"]),
        ("not_a_module", ["torch module"]),
        ("fails", ["no such size"]),
    ],
)
def test_a_model_that_does_not_fit_is_one_line_before_any_work(
    root: Path, tmp_path: Path, nets: Callable[..., list[str]], name: str, words: list[str]
) -> None:
    line = refused(root, tmp_path, nets(name), kind="config error")
    assert name in line
    assert all(word in line for word in words), line
    assert not run_folders(tmp_path)
    assert not (tmp_path / "cache" / "rows").exists()


def lose_recording(folder: Path) -> None:
    (folder / "audio/004.wav").unlink()


def spoil_recording(folder: Path) -> None:
    (folder / "audio/004.wav").write_bytes(b"RIFF of old")


@pytest.mark.parametrize("mode", ["lazy", "cached"])
@pytest.mark.parametrize("accident", [lose_recording, spoil_recording])
def test_a_recording_that_is_lost_after_the_check_is_named(
    root: Path, tmp_path: Path, mode: str, accident: Callable[[Path], None]
) -> None:
    from chirpid.cli import session

    folder = shutil.copytree(root, tmp_path / "set")
    before = session.prepare

    def prepare(*args: object) -> object:
        prepared = before(*args)
        accident(folder)
        return prepared

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "prepare", prepare)
        line = refused(folder, tmp_path / "out", [f"mode={mode}"], kind="data error")
    assert "004.wav" in line


def test_hostile_recordings_are_named_or_skipped(shared_data: Path, tmp_path: Path) -> None:
    hostile = shared_data / "hostile"
    more = [
        "cv.group_by=recording",
        "engine.max_batches=2", "segment.max_per_recording=4",
    ]  # fmt: skip
    stopped = train(hostile, tmp_path, *more)
    assert stopped.code == 2
    assert "Traceback" not in stopped.err
    bad = ["zero_bytes.wav", "header_only.wav", "text_named.wav", "html_404.mp3", "aac.m4a",
           "ten_ms.wav", "one_sample.wav", "._XC000000.ogg"]  # fmt: skip
    assert all(name in stopped.err for name in bad), stopped.err
    skipped = train(hostile, tmp_path, *more, "dataset.on_bad=skip")
    assert skipped.code == 0, skipped
    predictions = pd.read_csv(run_folder(tmp_path) / "predictions.csv")
    probs = predictions.filter(like="p_").to_numpy()
    assert np.isfinite(probs).all()
    assert not set(predictions["recording"]) & set(bad)
    assert "Colibrí_ñandú_鳥.ogg" in set(predictions["recording"])


def test_a_hostile_folder_is_sorted_out(shared_data: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted((shared_data / "hostile").iterdir())):
        if path.suffix not in (".md", ".csv") and path.is_file():
            place = tmp_path / "set" / f"class {number % 2}"
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    more = ["dataset=folder", "segment.max_per_recording=4", "engine.max_batches=2"]
    stopped = train(tmp_path / "set", tmp_path / "out", *more)
    assert stopped.code == 2
    assert "zero_bytes.wav" in stopped.err
    assert "._XC" not in stopped.err
    skipped = train(tmp_path / "set", tmp_path / "out", *more, "dataset.on_bad=skip")
    assert skipped.code == 0, skipped
    assert (
        "UPPER CASE and spaces.MP3"
        in (run_folder(tmp_path / "out") / "predictions.csv").read_text()
    )
