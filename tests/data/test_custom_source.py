"""A function of the user's own as the table of recordings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chirpid.data.manifest import Manifest
from chirpid.data.sources import load_manifest
from chirpid.errors import ChirpError


def table_of_sounds(num: int, missing: bool = False) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "filename": [f"{index}.wav" for index in range(num)],
            "label": ["x", "y"] * (num // 2),
            "group": [None if missing else 1.0, *np.arange(1.0, num)],
            "fold": [1.0, 2.0] * (num // 2),
        }
    )


def not_a_table(num: int) -> list[int]:
    return [num]


def custom(root: Path | None, function: str, **params: Any) -> Manifest:
    target = f"{__name__}.{function}"
    return load_manifest(
        "custom", name="mine", root=root, target=target, params=params, fold_column="fold"
    )


def test_a_function_of_the_user_can_be_the_table(tmp_path: Path) -> None:
    for index in range(4):
        (tmp_path / f"{index}.wav").touch()
    manifest = custom(tmp_path, "table_of_sounds", num=4)
    assert manifest.table["fold"].tolist() == [0, 1, 0, 1]
    assert manifest.classes == ("x", "y")
    lacking = custom(tmp_path, "table_of_sounds", num=4, missing=True)
    assert [problem.recording for problem in lacking.problems] == ["0.wav"]


@pytest.mark.parametrize(
    ("target", "params", "said"),
    [
        ("no.such.module", {}, "cannot be imported"),
        ("chirpid.errors.nothing", {}, "cannot be imported"),
        ("plain", {}, "cannot be imported"),
        ("chirpid.errors.__doc__", {}, "not a function"),
        (f"{__name__}.table_of_sounds", {"numb": 3}, r"dataset\.params do not fit"),
        (f"{__name__}.not_a_table", {"num": 3}, "returned list, not a pandas DataFrame"),
        (f"{__name__}.table_of_sounds", {"num": 2}, "not absolute"),
    ],
)
def test_a_custom_source_that_does_not_work_says_why(
    target: str, params: dict[str, int], said: str
) -> None:
    with pytest.raises(ChirpError, match=said):
        load_manifest("custom", name="mine", target=target, params=params)
