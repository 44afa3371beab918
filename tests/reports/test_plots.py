from __future__ import annotations

import contextlib
import math
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from matplotlib.image import imread

from chirpid.loading.monitor import Recording
from chirpid.reports import confusion, plots
from chirpid.reports.canvas import drawing, shortened
from chirpid.reports.lanes import window
from chirpid.reports.timeline import binned_shares, busy_share, curves_to_draw, verdict, wait_share
from chirpid.types import FloatArray

RED, BLUE, ORANGE = (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)
DURATIONS = st.lists(st.tuples(st.floats(0, 5), st.floats(0, 5), st.floats(0, 1)), min_size=1,
                     max_size=30)  # fmt: skip


def timeline(durations: list[tuple[float, float, float]]) -> FloatArray:
    """Return a timeline of (wait, step, pause) in seconds per batch."""
    rows, now = [], 0.0
    for wait, step, pause in durations:
        rows.append((now, now + wait, now + wait + step))
        now += wait + step + pause
    return np.array(rows)


def made_by_two(number: int, wait_s: float, step_s: float) -> Recording:
    """Return an epoch in which two workers decode for as long as the model waits."""
    times = timeline([(wait_s, step_s, 0.0)] * number)
    which = np.arange(number)
    return Recording(
        timeline_B3=times, inside_B2=np.zeros((number, 2)), batch_S=which, worker_S=which % 2,
        span_S2=times[:, :2], stages=("decode",), stage_SK=np.full((number, 1), wait_s),
    )  # fmt: skip


def colour_share(path: Path, red: int, green: int, blue: int) -> float:
    """Return the share of pixels that have a colour."""
    image = np.round(imread(path)[..., :3] * 255).astype(int)
    return float((np.abs(image - (red, green, blue)).max(axis=-1) < 12).mean())


@given(durations=DURATIONS, num_bins=st.integers(1, 50))
def test_the_shares_of_a_timeline_add_up_to_its_times(
    durations: list[tuple[float, float, float]], num_bins: int
) -> None:
    times = timeline(durations)
    edges, waiting, working = binned_shares(times, num_bins)
    width = edges[1] - edges[0]
    assert (waiting > -1e-6).all()
    assert (waiting + working < 1 + 1e-6).all()
    assert waiting.sum() * width == pytest.approx(sum(d[0] for d in durations), abs=1e-6)
    assert working.sum() * width == pytest.approx(sum(d[1] for d in durations), abs=1e-6)


def test_wait_share_is_blocked_time_over_the_whole() -> None:
    assert wait_share(timeline([(1.0, 2.0, 0.0), (1.0, 4.0, 0.0)])) == pytest.approx(0.25)
    assert wait_share(np.zeros((0, 3))) == 0.0


def test_a_starving_model_is_seen_by_the_colour(tmp_path: Path) -> None:
    shares = {}
    for name, wait_s, step_s in (("starving", 0.09, 0.01), ("fed", 0.0005, 0.05)):
        path = tmp_path / f"{name}.png"
        plots.loader_timeline(made_by_two(60, wait_s, step_s), path, title=name)
        shares[name] = [colour_share(path, *colour) for colour in (RED, BLUE, ORANGE)]
    waiting, working, decoding = shares["starving"]
    assert waiting > 5 * working
    assert decoding > 0.02, "the workers are busy"
    waiting, working, decoding = shares["fed"]
    assert working > 5 * waiting
    assert decoding < 0.01, "the workers are idle"


def test_the_headline_says_it_in_words() -> None:
    assert verdict(0.634) == "STARVING, the model waited for data 63.4 % of the time"
    assert verdict(0.1).startswith("hungry at times")
    assert verdict(0.004).startswith("well fed")
    assert verdict(0.004, busy=0.9).startswith("just fed")
    assert busy_share(made_by_two(60, 0.09, 0.01)) == pytest.approx(0.45)
    assert busy_share(Recording(timeline([(1.0, 1.0, 0.0)]))) == 0.0


@pytest.mark.parametrize(("number", "wanted"), [(1, (0, 1)), (24, (0, 24)), (101, (38, 62)),
                                                (5000, (3988, 4012))])  # fmt: skip
def test_lanes_are_of_the_middle_of_what_is_kept(number: int, wanted: tuple[int, int]) -> None:
    assert window(Recording(np.zeros((number, 3)))) == wanted


def test_curves_are_drawn_where_there_is_something_to_see(tmp_path: Path) -> None:
    recording = made_by_two(10, 0.5, 0.5)
    assert [curve.name for curve in curves_to_draw(recording)] == ["batches"]
    seconds = np.arange(10.0)
    recording.samples_AU = np.column_stack([seconds, seconds, seconds, seconds, seconds, seconds])
    assert [curve.name for curve in curves_to_draw(recording)] == ["batches", "cores", "GPU"]
    plots.loader_timeline(recording, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").stat().st_size > 5000


@pytest.mark.parametrize("num_classes", [1, 2, 13, 50])
def test_names_of_a_confusion_matrix_do_not_overlap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_classes: int
) -> None:
    figures: list[Figure] = []

    @contextlib.contextmanager
    def kept(*arguments: Any) -> Iterator[Figure]:
        with drawing(*arguments) as figure:
            figures.append(figure)
            yield figure

    monkeypatch.setattr(confusion, "drawing", kept)
    names = [f"Extraordinarily long $name_{i}$ of a [bird]" for i in range(num_classes)]
    counts = np.eye(num_classes, dtype=np.int64) * 1234
    plots.confusion_matrix(counts, names, tmp_path / "confusion.png")
    (figure,) = figures
    axes = figure.axes[0]
    rows = [label.get_window_extent() for label in axes.get_yticklabels()]
    columns = [label.get_window_extent() for label in axes.get_xticklabels()]
    assert len(rows) == len(columns) == num_classes
    assert all(not a.overlaps(b) for a, b in pairwise(rows))
    assert all(not a.overlaps(b) for a, b in pairwise(columns))
    inside = figure.bbox.padded(1)
    for text in [*axes.get_yticklabels(), *axes.get_xticklabels(), axes.xaxis.label,
                 axes.yaxis.label, *figure.texts]:  # fmt: skip
        box = text.get_window_extent()
        assert inside.contains(box.x0, box.y0), text
        assert inside.contains(box.x1, box.y1), text


def test_a_class_without_examples_is_an_empty_row(tmp_path: Path) -> None:
    plots.confusion_matrix(np.zeros((3, 3), dtype=np.int64), ["a", "b", "c"], tmp_path / "c.png")
    assert (tmp_path / "c.png").stat().st_size > 1000


def history(num_epochs: int, start: float) -> plots.History:
    return [{"epoch": e, "train/loss": start / (e + 1), "valid/loss": math.nan if e == 2 else 1.0,
             "valid/segment/accuracy": 0.5, "valid/recording/accuracy": 0.6, "lr": 1e-3}
            for e in range(num_epochs)]  # fmt: skip


@pytest.mark.parametrize("lengths", [[1], [5], [7, 3, 7, 0]])
def test_learning_curves_of_any_length_are_drawn(tmp_path: Path, lengths: list[int]) -> None:
    path = tmp_path / "new folder" / "curves.png"
    plots.learning_curves([history(n, 2.0) for n in lengths], path)
    assert path.stat().st_size > 5000


@pytest.mark.parametrize("num", [1, 6, 16])
@pytest.mark.parametrize("with_hz", [True, False])
def test_spectrograms_are_drawn_upright_on_one_scale(
    tmp_path: Path, num: int, with_hz: bool
) -> None:
    specs = np.zeros((num, 32, 40), dtype=np.float32)
    specs[:, :16] = 1.0  # energy in the low bands only
    mel_hz = np.geomspace(200, 12000, 32) if with_hz else None
    path = tmp_path / "sheet.png"
    plots.spectrogram_sheet(specs, [f"bird {i}" for i in range(num)], path, hop_s=0.016,
                            mel_hz=mel_hz)  # fmt: skip
    image = imread(path)[..., :3]
    column = image[:, int(image.shape[1] * (0.2 if num > 1 else 0.4))]
    bright = np.flatnonzero((column[:, 0] > 0.95) & (column[:, 2] < 0.8))
    dark = np.flatnonzero(column.max(axis=1) < 0.05)
    assert bright.size
    assert dark.size
    assert dark.min() < bright.min()  # silence is above the sound in the first spectrogram


def results(num_folds: int) -> dict[str, Any]:
    metrics = {"recording/accuracy": {"mean": 0.5, "std": 0.1, "pooled": 0.52, "ci95": [0.4, 0.6]},
               "valid/loss": {"mean": 2.5, "std": 0.1, "pooled": None, "ci95": None}}  # fmt: skip
    folds = [{"fold": k, "metrics": {"recording/accuracy": 0.4 + k / 20, "valid/loss": None}}
             for k in range(num_folds)]  # fmt: skip
    return {"version": 1, "metrics": metrics, "folds": folds}


@pytest.mark.parametrize("num_folds", [1, 5])
def test_folds_are_drawn(tmp_path: Path, num_folds: int) -> None:
    plots.folds_overview(results(num_folds), tmp_path / "folds.png")
    assert (tmp_path / "folds.png").stat().st_size > 3000


def test_what_cannot_be_drawn_is_refused_and_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "plot.png"
    with pytest.raises(ValueError, match=r"shape \(2, 2\)"):
        plots.confusion_matrix(np.zeros((2, 2), dtype=np.int64), ["a"], path)
    with pytest.raises(ValueError, match="no epoch"):
        plots.learning_curves([[]], path)
    with pytest.raises(ValueError, match="do not fit"):
        plots.spectrogram_sheet(np.zeros((2, 3, 4), dtype=np.float32), ["a"], path, hop_s=1.0)
    with pytest.raises(ValueError, match="backwards"):
        plots.loader_timeline(Recording(np.array([[0.0, 2.0, 1.0]])), path)
    with pytest.raises(ValueError, match="no metrics"):
        plots.folds_overview({"metrics": {}}, path)
    assert list(tmp_path.iterdir()) == []


@given(text=st.text(max_size=60), limit=st.integers(1, 40))
def test_a_shortened_name_keeps_its_ends_and_the_limit(text: str, limit: int) -> None:
    short = shortened(text, limit)
    assert len(short) <= limit
    if len(text) <= limit:
        assert short == text
    elif limit >= 3:
        assert short[0] == text[0]
        assert short[-1] == text[-1]


def test_importing_the_reports_does_not_import_matplotlib() -> None:
    code = ("import sys, chirpid.reports.plots, chirpid.reports.summary;"
            "print('matplotlib' in sys.modules, 'torch' in sys.modules)")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"
