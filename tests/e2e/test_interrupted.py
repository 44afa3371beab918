"""Stopped, killed or started twice: nothing is lost, nothing is half, and the bits are the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import soundfile
import torch

from tests.e2e.forks import Fork, Parent
from tests.e2e.line import (
    LONG,
    Ended,
    ended,
    leave_out_plots,
    results_of,
    run_folder,
    run_folders,
    same_run,
    start,
    train,
)
from tests.sounds import tone, write_set

pytestmark = pytest.mark.usefixtures("no_plots")

AGAIN = "resume=auto"


def when(ready: Callable[[], bool], timeout_s: float = 60) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + timeout_s
    while not ready():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)


def stopped(process: Fork, outputs: Path, number: int) -> Ended:
    """Send a signal to a training as soon as a fold has a checkpoint, and wait for its end."""
    when(lambda: any(outputs.glob("runs/*/folds/0/checkpoint.pt")))
    process.send_signal(number)
    return ended(process)


def state_of(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "state.json").read_text())
    return found


def goes_on(root: Path, outputs: Path, like: Path) -> Ended:
    """Resume, and hold the result against the undisturbed run."""
    before = state_of(run_folder(outputs))
    found = train(root, outputs, *LONG, AGAIN)
    assert found.code == 0, found.err
    assert "going on in" in found.out
    assert same_run(like, run_folder(outputs)), "interrupted must equal uninterrupted"
    after = state_of(run_folder(outputs))
    assert after["status"] == "finished"
    assert 0 < before["wall_s"] < results_of(run_folder(outputs))["wall_s"]  # type: ignore[operator]
    assert not [p for p in run_folder(outputs).rglob(".*.tmp")]
    return found


def test_a_schedulers_stop_ends_with_one_line_and_can_be_resumed(
    forks: Parent, root: Path, long_run: Path, tmp_path: Path
) -> None:
    found = stopped(start(forks, root, tmp_path, *LONG), tmp_path, signal.SIGTERM)
    assert found.code == 130
    assert found.line.startswith("interrupted: Stopped in fold 0, epoch ")
    assert state_of(run_folder(tmp_path))["status"] == "interrupted"
    goes_on(root, tmp_path, long_run)


def test_ctrl_c_ends_a_whole_sweep(forks: Parent, root: Path, tmp_path: Path) -> None:
    process = start(forks, root, tmp_path, *LONG, "-m", "seed=0,1")
    found = stopped(process, tmp_path, signal.SIGINT)
    assert found.code == 130
    assert found.line.startswith("interrupted: Stopped in fold 0")
    assert len(run_folders(tmp_path)) == 1


def test_without_resume_a_new_run_begins(root: Path, straight: Path, tmp_path: Path) -> None:
    assert train(root, tmp_path).code == 0
    assert train(root, tmp_path, AGAIN).code == 0, "nothing is unfinished: a new run"
    first, second = run_folders(tmp_path)
    assert same_run(first, second)


@pytest.fixture(scope="module")
def stopped_once(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a copy of the set and with the outputs of a run stopped between two folds."""
    from chirpid.engine.engine import TrainingEngine

    place = tmp_path_factory.mktemp("unfinished") / "place"
    shutil.copytree(root, place / "set")
    before = TrainingEngine._run_fold

    def first_fold_only(self: TrainingEngine, fold: int, stop: object) -> object:
        if fold == 1:
            raise KeyboardInterrupt
        return before(self, fold, stop)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        leave_out_plots(patch)
        patch.setattr(TrainingEngine, "_run_fold", first_fold_only)
        found = train(place / "set", place / "out")
    assert found.code == 130
    assert found.line == "interrupted"
    shutil.copytree(place, place.with_name("as it was"))
    return place


@pytest.fixture
def unfinished(stopped_once: Path) -> tuple[Path, Path, Path]:
    """The set, the outputs and the run folder of a stopped run, as if it had just been stopped."""
    shutil.rmtree(stopped_once)
    shutil.copytree(stopped_once.with_name("as it was"), stopped_once)
    return stopped_once / "set", stopped_once / "out", run_folder(stopped_once / "out")


def test_a_run_stopped_between_folds_goes_on(
    unfinished: tuple[Path, Path, Path], straight: Path
) -> None:
    root, outputs, folder = unfinished
    found = train(root, outputs, AGAIN)
    assert found.code == 0, found.err
    assert same_run(straight, folder)


def test_changed_settings_begin_a_new_run_or_are_refused_by_name(
    unfinished: tuple[Path, Path, Path],
) -> None:
    root, outputs, folder = unfinished
    refused = train(root, outputs, f"resume={folder}", "optim.lr=0.01")
    assert refused.code == 2
    assert "other settings" in refused.line
    assert train(root, outputs, AGAIN, "optim.lr=0.01").code == 0
    assert len(run_folders(outputs)) == 2
    assert state_of(folder)["status"] == "interrupted"


def other_sound(root: Path) -> None:
    """Keep name, length, rate and label; only the samples differ."""
    info = soundfile.info(root / "audio/000.wav")
    wave = tone(900, info.frames / info.samplerate, info.samplerate)
    soundfile.write(root / "audio/000.wav", wave, info.samplerate, subtype="PCM_16")


def other_label(root: Path) -> None:
    table = pd.read_csv(root / "metadata.csv")
    table.loc[[0, 3], "label"] = "bird 1"
    table.to_csv(root / "metadata.csv", index=False)


@pytest.mark.parametrize("change", [other_sound, other_label])
@pytest.mark.parametrize("how", ["auto", "path"])
def test_changed_data_are_not_mixed_with_those_before(
    unfinished: tuple[Path, Path, Path], change: Callable[[Path], None], how: str
) -> None:
    root, outputs, folder = unfinished
    change(root)
    found = train(root, outputs, AGAIN if how == "auto" else f"resume={folder}")
    assert found.code == 2
    assert "changed since" in found.line


def test_resume_by_path_says_what_is_wrong(
    unfinished: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    root, outputs, folder = unfinished
    for path, word in ((tmp_path, "not a run folder"), (outputs / "x", "not a run folder")):
        found = train(root, outputs, f"resume={path}")
        assert found.code == 2
        assert word in found.line
    assert train(root, outputs, f"resume={folder}").code == 0
    again = train(root, outputs, f"resume={folder}")
    assert again.code == 2
    assert "finished" in again.line


@pytest.mark.parametrize("name", ["outcome.pt", "checkpoint.pt"])
@pytest.mark.parametrize("damage", ["cut", "empty", "text", "flipped"])
def test_a_damaged_checkpoint_is_named(
    unfinished: tuple[Path, Path, Path], name: str, damage: str
) -> None:
    root, outputs, folder = unfinished
    path = folder / "folds/0" / name
    if name == "checkpoint.pt":
        (folder / "folds/0/outcome.pt").unlink()
    data = bytearray(path.read_bytes())
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "empty":
        data.clear()
    elif damage == "text":
        data[:] = b"not a checkpoint"
    else:
        for position in range(len(data) // 3, len(data) * 2 // 3):
            data[position] ^= 0xFF
    path.write_bytes(bytes(data))
    found = train(root, outputs, AGAIN)
    assert found.code == 1, found
    assert found.line.startswith(f"storage error: {path} is damaged")
    if damage == "cut":  # gone, it is gone, however it was damaged
        path.unlink()
        assert train(root, outputs, AGAIN).code == 0


def test_a_checkpoint_of_another_model_is_named(unfinished: tuple[Path, Path, Path]) -> None:
    root, outputs, folder = unfinished
    (folder / "folds/0/outcome.pt").unlink()
    path = folder / "folds/0/checkpoint.pt"
    state = torch.load(path)
    state["model"].popitem()
    torch.save(state, path)
    found = train(root, outputs, AGAIN)
    assert found.code == 1
    assert "another model" in found.line


def test_a_run_that_another_process_is_in_is_left_alone(
    unfinished: tuple[Path, Path, Path],
) -> None:
    from chirpid.engine.run_folder import RunFolder, read_state

    root, outputs, folder = unfinished
    state = read_state(folder)
    assert state is not None
    held = RunFolder(folder, state, resumed=True)
    try:
        named = train(root, outputs, f"resume={folder}")
        assert named.code == 1
        assert "in use by another process" in named.line
        assert train(root, outputs, AGAIN).code == 0
        assert len(run_folders(outputs)) == 2
    finally:
        held.close()


def test_two_at_once_share_cache_and_do_not_share_folders(
    forks: Parent, root: Path, straight: Path, tmp_path: Path
) -> None:
    """Neither recordings nor rows are known yet: both want to write all of it."""
    both = [start(forks, root, tmp_path, AGAIN) for _ in range(2)]
    assert [ended(process).code for process in both] == [0, 0]
    folders = run_folders(tmp_path)
    assert len(folders) == 2
    assert all(same_run(straight, folder) for folder in folders)
    assert len(list(tmp_path.glob("cache/rows/*"))) == 1


@pytest.fixture(scope="module")
def slow_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set that takes a while to look at and to cache."""
    folder = write_set(tmp_path_factory.mktemp("slow") / "set", seconds=40)
    return folder


@pytest.mark.parametrize("place", ["check", "cache"])
def test_ctrl_c_before_the_first_batch_is_one_line(
    forks: Parent, slow_set: Path, tmp_path: Path, place: str
) -> None:
    process = start(forks, slow_set, tmp_path, "frontend.num_mels=64", "segment.hop_s=0.1")
    sign = "cache/scans.sqlite" if place == "check" else "cache/rows/*/rows.bin"
    when(lambda: any(tmp_path.glob(sign)))
    process.send_signal(signal.SIGINT)
    found = ended(process)
    assert found.code == 130
    assert found.line.startswith("interrupted")
    assert len(run_folders(tmp_path)) == (0 if place == "check" else 1)


def test_ctrl_c_to_the_whole_group_ends_worker_processes_quietly(
    forks: Parent, root: Path, tmp_path: Path
) -> None:
    """A terminal sends the signal to every process of the group."""
    process = start(
        forks, root, tmp_path, *LONG, "loader.backend=processes", "loader.num_workers=2",
        start_new_session=True,
    )  # fmt: skip
    when(lambda: any(tmp_path.glob("runs/*/folds/0/checkpoint.pt")))
    os.killpg(process.pid, signal.SIGINT)
    found = ended(process)
    assert found.code == 130
    assert found.line.startswith("interrupted: Stopped in fold 0")
    with pytest.raises(ProcessLookupError):
        when(lambda: os.killpg(process.pid, 0) is not None, timeout_s=5)
