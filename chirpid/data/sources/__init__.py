"""Where recordings and labels come from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from chirpid.data.assemble import Columns
from chirpid.data.manifest import Manifest
from chirpid.errors import ConfigError
from chirpid.types import OnBad

KINDS = ("demo", "folder", "csv", "custom")


def load_manifest(
    kind: str,
    *,
    name: str,
    root: Path | None = None,
    table: str | None = None,
    audio_dir: str = "",
    filename_column: str = "filename",
    label_column: str = "label",
    group_column: str | None = None,
    fold_column: str | None = None,
    secondary_column: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    filter: str | None = None,
    limit: int | None = None,
    group_missing: OnBad = OnBad.stop,
    target: str | None = None,
    params: Mapping[str, Any] | None = None,
    demo: Mapping[str, Any] | None = None,
) -> Manifest:
    """Return the recordings and labels of a dataset; no recording is opened yet.

    Rows that cannot be used are in `problems` of the manifest: pass it to `check_recordings`.

    Args:
        kind: one of `KINDS`.
        root: folder of the dataset; for `demo` where the synthetic birds are made.
        demo: arguments of `make_demo`, for kind `demo`.
        target, params: function that returns a table, for kind `custom`.
        The others: as in `DatasetConfig`.
    Raises:
        DataError: folder, table or column missing, or no row can be used.
        ConfigError: an argument is missing or at odds with another.
    """
    if kind not in KINDS:
        raise ConfigError(f"dataset.kind={kind} is unknown. Kinds: {', '.join(KINDS)}.")
    columns = Columns(
        filename=filename_column,
        label=label_column,
        group=group_column,
        fold=fold_column,
        secondary=secondary_column,
    )
    shared: dict[str, Any] = {
        "name": name,
        "columns": columns,
        "audio_dir": audio_dir,
        "filter": filter,
        "limit": limit,
        "group_missing": OnBad(group_missing),
    }
    if kind == "custom":
        from chirpid.data.sources.custom import load_custom

        if target is None:
            raise ConfigError("dataset.kind=custom needs dataset.target, a dotted function name.")
        return load_custom(target=target, params=params or {}, root=root, **shared)
    if root is None:
        raise ConfigError(f"dataset={name} needs dataset.root, the folder of your recordings.")
    if kind == "demo":
        from chirpid.data.sources.demo import make_demo

        made: Manifest = make_demo(root, **(demo or {}))
        return made
    shared |= {"root": root, "delimiter": delimiter, "encoding": encoding}
    if kind == "folder":
        from chirpid.data.sources.folder import load_folder

        return load_folder(table=table, **shared)
    from chirpid.data.sources.csv_table import load_csv

    if table is None:
        raise ConfigError("dataset.kind=csv needs dataset.table, the name of the label table.")
    return load_csv(table=table, **shared)
