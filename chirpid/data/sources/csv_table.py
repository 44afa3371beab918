"""A dataset that is a label table with recordings beside it."""

from __future__ import annotations

from pathlib import Path

from chirpid.data.assemble import Columns, assemble
from chirpid.data.manifest import Manifest
from chirpid.data.tables import read_table
from chirpid.errors import DataError
from chirpid.types import OnBad


def load_csv(
    *,
    name: str,
    root: Path,
    table: str,
    columns: Columns,
    audio_dir: str = "",
    delimiter: str | None = None,
    encoding: str | None = None,
    filter: str | None = None,
    limit: int | None = None,
    group_missing: OnBad = OnBad.stop,
) -> Manifest:
    """Return the manifest of the label table `table`, a path below `root` or an absolute one.

    Raises:
        DataError: folder, table or column missing, or no row can be used.
        ConfigError: the filter is not a valid query.
    """
    root = existing_folder(root)
    found = read_table(find_table(root, table), delimiter=delimiter, encoding=encoding)
    return assemble(
        found,
        columns,
        name=name,
        root=root,
        audio_dir=audio_dir,
        filter=filter,
        limit=limit,
        group_missing=group_missing,
    )


def existing_folder(root: Path, setting: str = "dataset.root") -> Path:
    """Return `root` as an absolute path.

    Raises:
        DataError: it does not exist or is a file.
    """
    root = Path(root).expanduser().absolute()
    if root.is_dir():
        return root
    if root.is_file():
        raise DataError(
            f"{setting}={root} is a file. Give the folder, and the file in dataset.table."
        )
    near = next((parent for parent in root.parents if parent.is_dir()), root)
    raise DataError(f"{setting}={root} does not exist; there is {near}. Give the folder's path.")


def find_table(root: Path, table: str) -> Path:
    """Return the path of the label table.

    Raises:
        DataError: it does not exist; names the tables that do.
    """
    path = root / Path(table).expanduser()
    if path.is_file():
        return path
    ends = (".csv", ".tsv", ".txt")
    others = sorted(
        str(other.relative_to(root))
        for pattern in ("*", "*/*")
        for other in root.glob(pattern)
        if other.suffix.lower() in ends and not other.name.startswith(".")
    )
    there = f"There is {', '.join(others[:5])}." if others else "There is no table at all."
    raise DataError(f"No table {path}. {there} Set dataset.table, or use dataset=folder.")
