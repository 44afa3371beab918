from __future__ import annotations

import codecs
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chirpid.data.tables import ROW, apply_filter, find_encoding, read_table
from chirpid.errors import ConfigError, DataError
from tests.examples import examples

TEXT = "filename,label,core\na.wav,Colibrí,1\nb.wav,鳥,0\n"


def write(folder: Path, data: bytes | str) -> Path:
    path = folder / "labels.csv"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encoding_and_delimiter_are_found(tmp_path: Path, encoding: str, delimiter: str) -> None:
    data = TEXT.replace(",", delimiter).encode(encoding)
    table = read_table(write(tmp_path, data))
    assert table.columns == ["filename", "label", "core"]
    assert table.frame["label"].tolist() == ["Colibrí", "鳥"]
    assert table.notes == ()


def test_utf16_with_the_other_byte_order_mark_is_read(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be")))
    assert table.columns[0] == "filename"


def test_old_western_encodings_are_read_and_noted(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "filename,label\na.wav,Rötelfalke’s\n".encode("cp1252")))
    assert table.frame["label"][0] == "Rötelfalke’s"
    assert "not UTF-8" in table.notes[0]
    assert find_encoding(b"label\x81\xe9") == "latin-1"


def test_a_delimiter_inside_quotes_does_not_count(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, 'filename;"label; name, common";group\na.wav;"x, y; z";g\n'))
    assert table.columns == ["filename", "label; name, common", "group"]
    assert table.frame.iloc[0, 1] == "x, y; z"


def test_rows_know_where_they_stood_and_short_ones_are_filled(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "filename,label,group\na.wav,x\n\n,,\nb.wav,y,g,,\n"))
    assert table.frame[ROW].tolist() == [2, 5]
    assert table.frame["group"].tolist() == ["", "g"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", r"labels\.csv is empty \(0 bytes\)"),
        (b"\xef\xbb\xbf\r\n\r\n", "is empty"),
        ("filename,label\n", r"no rows.*columns: filename, label"),
        (
            "filename,label\na.wav,x,y\nb.wav,x\nc.wav,1,2\n",
            r"2 columns but more cells in row 2, 4",
        ),
        ('filename,label\n"a.wav,x\n', r"line 2: unexpected end of data"),
        ("label,filename,label\na,b,c\n", "more than one column named label"),
        (b"PK\x03\x04rest", "spreadsheet"),
        (b"\xff\xfe\x00\x01binary\x00\x00\x00\x00", "labels"),
        (b"RIFF\x00\x01,WAVE\x02\n\x05", "zero bytes"),
    ],
)
def test_what_is_no_table_is_said_in_one_line(tmp_path: Path, data: bytes | str, said: str) -> None:
    with pytest.raises(DataError, match=said) as caught:
        read_table(write(tmp_path, data))
    assert "\n" not in str(caught.value)


def test_a_wrong_encoding_or_delimiter_is_an_error_not_garbage(tmp_path: Path) -> None:
    path = write(tmp_path, TEXT)
    with pytest.raises(DataError, match=r"dataset\.encoding=ascii"):
        read_table(path, encoding="ascii")
    with pytest.raises(DataError, match=r"dataset\.encoding=utf-99"):
        read_table(path, encoding="utf-99")
    with pytest.raises(ConfigError, match="one character"):
        read_table(path, delimiter="::")
    with pytest.raises(DataError, match="No such file"):
        read_table(tmp_path / "none.csv")


def test_a_missing_column_is_named_with_those_there_are(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, "Filename,labels\na,b\n"))
    with pytest.raises(DataError, match=r"Did you mean 'Filename'.*It has: Filename, labels"):
        table.require("filename", "dataset.filename_column")
    with pytest.raises(DataError, match="Did you mean 'labels'"):
        table.require("label", "dataset.label_column")


@pytest.fixture
def birds(tmp_path: Path):  # type: ignore[no-untyped-def]
    rows = ["a,1,A,007,3.5", "b,0,B,012,", "c,1,,100,-1e3", "d,1,A,001,0"]
    return read_table(write(tmp_path, "name,core,quality,code,level\n" + "\n".join(rows)))


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("core == 1", "acd"),
        ("core == 1 and quality in ['A', 'B']", "ad"),
        ("quality == ''", "c"),
        ("code == '007'", "a"),
        ("level > -1 and core", "ad"),
        ("not (core == 1)", "b"),
        ("name.str.contains('[ab]')", "ab"),
    ],
)
def test_a_filter_keeps_the_rows_it_says(birds, query: str, names: str) -> None:  # type: ignore[no-untyped-def]
    kept = apply_filter(birds, query)
    assert "".join(kept.frame["name"]) == names
    assert all(isinstance(cell, str) for cell in kept.frame["core"])


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("cores == 1", "uses 'cores', which is no column.*Did you mean 'core'"),
        ("core ==", "cannot be evaluated"),
        ("core = 1", "no yes-or-no question.*=="),
        ("core + 1", "no yes-or-no question"),
        ("name", "no yes-or-no question"),
        ("quality > 1", "cannot be evaluated"),
        ("name.nothing()", "cannot be evaluated"),
        ("import os", "cannot be evaluated"),
    ],
)
def test_a_bad_filter_is_one_line(birds, query: str, said: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=said) as caught:
        apply_filter(birds, query)
    assert "\n" not in str(caught.value)


def test_a_filter_that_keeps_nothing_shows_what_the_columns_hold(birds) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DataError, match=r"keeps no row.*'core' holds numbers: 1, 0"):
        apply_filter(birds, "core == '1'")


cells = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=9)


@given(
    rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=6),
    delimiter=st.sampled_from(",;\t|"),
)
@settings(
    max_examples=examples(60),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_cells_come_back_as_they_were(
    tmp_path: Path, rows: list[tuple[str, str]], delimiter: str
) -> None:
    import csv

    with open(tmp_path / "labels.csv", "w", encoding="utf-8", newline="") as handle:
        csv.writer(handle, delimiter=delimiter).writerows([("filename", "label"), *rows])
    kept = [tuple(cell.strip() for cell in row) for row in rows]
    kept = [row for row in kept if any(row)]
    if not kept:
        with pytest.raises(DataError, match="no rows"):
            read_table(tmp_path / "labels.csv")
        return
    frame = read_table(tmp_path / "labels.csv").frame
    assert list(zip(frame["filename"], frame["label"], strict=True)) == kept
