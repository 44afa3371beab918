"""A dataset that a function of the user describes."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from chirpid.data.assemble import Columns, assemble
from chirpid.data.manifest import Manifest
from chirpid.data.sources.csv_table import existing_folder
from chirpid.data.tables import ROW, Table
from chirpid.errors import ConfigError, DataError
from chirpid.targets import find_target
from chirpid.types import OnBad


def load_custom(
    *,
    name: str,
    target: str,
    params: Mapping[str, Any],
    root: Path | None,
    columns: Columns,
    audio_dir: str = "",
    filter: str | None = None,
    limit: int | None = None,
    group_missing: OnBad = OnBad.stop,
) -> Manifest:
    """Return the manifest of the table that `target(**params)` returns.

    Args:
        target: dotted path of a function that returns a pandas DataFrame, one row a recording.
        root: folder that file names are relative to; None for the common folder of absolute names.
    Raises:
        ConfigError: there is no such function, or it does not take `params`.
        DataError: it returns no table, or no row of it can be used.
    """
    function = find_target(
        target, setting="dataset.target", form="package.module.function", kind="a function"
    )
    frame = _call(function, target, params)
    table = Table(f"the table of {target}", _as_text(frame))
    table.require(columns.filename, "dataset.filename_column")
    base = _common_folder(list(table.frame[columns.filename]), target) if root is None else root
    return assemble(
        table,
        columns,
        name=name,
        root=existing_folder(base),
        audio_dir=audio_dir,
        filter=filter,
        limit=limit,
        group_missing=group_missing,
    )


def _call(function: Callable[..., object], target: str, params: Mapping[str, Any]) -> pd.DataFrame:
    import inspect

    try:
        inspect.signature(function).bind(**params)
    except TypeError as error:
        raise ConfigError(f"dataset.params do not fit {target}: {error}.") from error
    frame = function(**params)
    if not isinstance(frame, pd.DataFrame):
        raise DataError(f"{target} returned {type(frame).__name__}, not a pandas DataFrame.")
    if frame.empty:
        raise DataError(f"{target} returned a table without rows.")
    return frame


def _as_text(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the frame as a label table would hold it: text, "" where a value is missing."""
    text = pd.DataFrame(index=range(len(frame)))
    for column in frame.columns:
        cells = ["" if _is_missing(cell) else str(cell).strip() for cell in frame[column]]
        text[str(column)] = pd.Series(cells, dtype=object)
    text[ROW] = pd.Series(range(1, len(frame) + 1), dtype=object)
    return text


def _is_missing(cell: object) -> bool:
    return cell is None or cell is pd.NA or cell is pd.NaT or cell != cell


def _common_folder(names: list[str], target: str) -> Path:
    named = [name for name in names if name]
    if not named or not all(os.path.isabs(name) for name in named):
        raise ConfigError(
            f"{target} returns file names that are not absolute. Set dataset.root, the folder they "
            "are relative to."
        )
    return Path(os.path.commonpath([os.path.dirname(name) for name in named]))
