from __future__ import annotations

import io
import math
from typing import Any

import pytest
from rich.console import Console, RenderableType

from chirpid.reports.summary import comparison, interval, number, summary


def shown(renderable: RenderableType, width: int) -> list[str]:
    console = Console(width=width, file=io.StringIO(), color_system=None)
    console.print(renderable)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def results(num_folds: int) -> dict[str, Any]:
    names = ("segment/accuracy", "other", "recording/macro_f1", "recording/accuracy")
    entry = {"mean": 0.5, "std": 0.1, "pooled": 0.512, "ci95": [0.41, 0.61]}
    folds = [{"fold": k, "metrics": dict.fromkeys(names, k / 8)} for k in range(num_folds)]
    folds[0]["metrics"]["other"] = None
    return {"metrics": dict.fromkeys(names, entry), "folds": folds}


def test_a_wide_console_shows_each_fold_and_a_narrow_one_the_summary() -> None:
    wide = "\n".join(shown(summary(results(5)), 100))
    assert "fold 4" in wide
    assert "0.375" in wide
    narrow = "\n".join(shown(summary(results(5)), 60))
    assert "fold" not in narrow
    for text in (wide, narrow):
        assert "0.500 ± 0.100" in text
        assert "0.512" in text
        assert "0.410–0.610" in text


@pytest.mark.parametrize("width", [60, 80, 100, 200])
@pytest.mark.parametrize("num_folds", [1, 5, 20])
def test_no_cell_is_cut_off(width: int, num_folds: int) -> None:
    lines = shown(summary(results(num_folds), title="a [run] of mine"), width)
    assert "a [run] of mine" in lines[0]
    assert all(len(line) <= width for line in lines)
    assert not any("…" in line for line in lines)


def test_recordings_come_before_windows_and_others() -> None:
    lines = shown(summary(results(1)), 80)
    order = [line.split()[0] for line in lines if line.strip() and line.split()[0][0].isalpha()]
    assert order == ["metric", "recording/accuracy", "recording/macro_f1", "segment/accuracy",
                     "other"]  # fmt: skip


def test_runs_are_compared_in_the_order_given() -> None:
    runs = {"by window": results(2), "by recordist": {"metrics": {}}}
    lines = shown(comparison(runs, notes={"by window": "leaks"}), 120)
    text = [line for line in lines if "by " in line]
    assert text[0].split()[:2] == ["by", "window"]
    assert "0.512" in text[0]
    assert text[0].rstrip().endswith("leaks")
    assert text[1].split() == ["by", "recordist", "–", "–", "–", "–"]


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (math.nan, "–"), (math.inf, "–"),
                                             (0.0, "0.000"), (0.12345, "0.123")])  # fmt: skip
def test_what_is_no_number_is_a_dash(value: float | None, text: str) -> None:
    assert number(value) == text


def test_an_absent_interval_is_a_dash() -> None:
    assert interval(None) == "–"
