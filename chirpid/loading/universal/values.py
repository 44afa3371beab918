"""A value for each sample of any dataset, such as its group or its class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from torch import Tensor
from torch.utils.data import Subset, TensorDataset

from chirpid.data.general import generators
from chirpid.data.general.adapt import is_columns
from chirpid.errors import DataError


def num_samples(data: Any) -> int:
    """Return how many samples a dataset, or what holds columns, has."""
    if is_columns(data) and isinstance(data, Mapping | tuple):
        first = next(iter(data.values())) if isinstance(data, Mapping) else data[0]
        return num_samples(first)
    return len(data)


def values_of(data: Any, column: Any, setting: str) -> pd.Series[Any]:
    """Return a value for each sample.

    Args:
        column: the name of a column of the data, or of an entry of each sample; a function of a
            sample; or the values themselves. Unless the data has columns, a name or a function
            makes each sample once: the values themselves cost nothing.
        setting: what this was given as, for messages.

    Raises:
        DataError: there is no such column; values are not one for each sample; or one is missing.
    """
    if isinstance(column, str):
        values = _named(data, column, setting)
    elif callable(column):
        values = _of_each(data, column)
    else:
        values = column
    series = _series(values, setting)
    if len(series) != num_samples(data):
        raise DataError(
            f"{setting} has {len(series)} values, and there are {num_samples(data)} samples. "
            "Give one for each."
        )
    missing = np.flatnonzero(series.isna())
    if len(missing):
        raise DataError(
            f"{setting} has no value for sample {missing[0]}, and for {len(missing)} in all. "
            "Fill them in; a value of its own for each, where nothing is known."
        )
    return series


def has_column(data: Any, name: str) -> bool:
    """Return whether the data has a column of this name, as far as that is seen at once."""
    if isinstance(data, Subset):
        return has_column(data.dataset, name)
    names = _column_names(data)
    return names is not None and name in names


def _column_names(data: Any) -> list[str] | None:
    if isinstance(data, pd.DataFrame):
        return [str(column) for column in data.columns]
    if isinstance(data, Mapping) and is_columns(data):
        return [str(column) for column in data]
    names = getattr(data, "column_names", None)  # of Hugging Face
    return list(names) if isinstance(names, list) else None


def _named(data: Any, name: str, setting: str) -> Any:
    if isinstance(data, Subset):
        whole = _series(_named(data.dataset, name, setting), setting)
        return whole.iloc[np.asarray(data.indices, dtype=np.int64)].reset_index(drop=True)
    names = _column_names(data)
    if names is None and not is_columns(data) and isinstance(_sample(data, 0), Mapping):
        names = [str(key) for key in _sample(data, 0)]
        if name in names:
            return _of_each(data, lambda sample: sample[name])
    if names is None:
        raise DataError(
            f"{setting}='{name}' names a column, and {type(data).__name__} has none. Give a value "
            "for each sample, or a function of a sample."
        )
    if name not in names:
        raise DataError(
            f"{setting}='{name}' is no column of the data. There are: {', '.join(names)}."
        )
    plain = data.with_format(None) if hasattr(data, "with_format") else data
    return plain[name][:] if hasattr(plain, "with_format") else plain[name]


def _of_each(data: Any, value: Any) -> list[Any]:
    with generators.put_back():
        return [value(_sample(data, number)) for number in range(num_samples(data))]


def _sample(data: Any, number: int) -> Any:
    """Return a sample as it would be in a batch."""
    if isinstance(data, pd.DataFrame):
        return data.iloc[number]
    if isinstance(data, pd.Series):
        return data.iloc[number]
    if is_columns(data) and isinstance(data, Mapping):
        return {key: _sample(column, number) for key, column in data.items()}
    if is_columns(data) and isinstance(data, tuple) and not isinstance(data, TensorDataset):
        return tuple(_sample(column, number) for column in data)
    return data[number]


def _series(values: Any, setting: str) -> pd.Series[Any]:
    if isinstance(values, Tensor):
        values = values.detach().cpu().numpy()
    if not isinstance(values, pd.Series | np.ndarray):
        values = [v.item() if isinstance(v, Tensor) and v.ndim == 0 else v for v in values]
    array: Any = values if isinstance(values, pd.Series) else np.asarray(values)
    if array.ndim != 1:
        raise DataError(
            f"{setting} has values of shape {list(array.shape[1:])}. Give one value for a sample: "
            "a number or a text."
        )
    return pd.Series(array).reset_index(drop=True)
