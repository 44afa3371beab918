from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chirpid.data.general.file_names import DatasetNotFoundError
from chirpid.data.text.dataset import TextDataset
from chirpid.errors import DataError
from tests.examples import examples


def lines(folder: Path) -> Path:
    path = folder / "texts.txt"
    path.write_bytes("\ufeffa bird\r\n\n \t\nthe tree\nél owl 🐦".encode())
    return path


def table(folder: Path) -> Path:
    path = folder / "texts.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        rows = [("id", "text", "kind"), (1, 'a "bird"\nsings; here', "x"), (2, "the tree", "y")]
        csv.writer(file, delimiter=";").writerows(rows)
        file.write("\n3; ;x\n")
    return path


def objects(folder: Path) -> Path:
    path = folder / "texts.jsonl"
    rows = [{"text": "a\nbird", "kind": 1}, {"text": "the tree", "kind": 0}]
    path.write_text("\n\n".join(map(json.dumps, rows)))
    return path


def folder(place: Path) -> Path:
    for name, text in (("x/0.txt", "a bird"), ("x/deep/1.TXT", "the\ntree"), ("y/2.txt", "")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text(text)
    return place


@pytest.mark.parametrize(
    ("write", "options", "texts", "labels", "num_blank"),
    [
        (lines, {"labels": [0, 1, 2, 3, 4]}, ["a bird", "the tree", "él owl 🐦"], [0, 3, 4], 2),
        (table, {"labels": "kind"}, ['a "bird"\nsings; here', "the tree"], [0, 1], 1),
        (objects, {"labels": "kind"}, ["a\nbird", "the tree"], [1, 0], 0),
        (folder, {}, ["a bird", "the\ntree"], [0, 0], 1),
    ],
)
def test_texts_come_from_where_people_keep_them(
    tmp_path: Path,
    write: Callable[[Path], Path],
    options: dict[str, Any],
    texts: list[str],
    labels: list[int],
    num_blank: int,
) -> None:
    found = TextDataset(write(tmp_path), **options)
    assert [found.text(index) for index in range(len(found))] == texts
    assert found.labels is not None
    assert found.labels.tolist() == labels
    assert found.num_blank == num_blank
    assert any("blank" in note for note in found.notes) == bool(num_blank)


def test_all_texts_that_are_bad_are_named_in_one_pass(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("good\nRötelfalke\n".encode() + "Rötelfalke\n".encode("latin-1") + b"a\0b\n\n")
    with pytest.raises(DataError) as caught:
        TextDataset(path)
    assert str(caught.value).splitlines() == [
        "2 of 4 texts cannot be used. Mend or remove them, or set on_bad='skip' to go on without "
        "them.",
        "  texts.txt, line 3: is not UTF-8 from byte 2 on (f6 74 65 6c). Convert it, or mend it",
        "  texts.txt, line 4: holds zero bytes, as no text does",
    ]
    found = TextDataset(path, on_bad="skip")
    assert [found.text(index) for index in (0, 1)] == ["good", "Rötelfalke"]
    assert len(found) == len(found.bad) == 2


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("t.jsonl", '{"text": "a", "n": 1}\n{"text": 3}\n', "line 2: has no text in 'text' but 3"),
        ("t.jsonl", '{"text": "a"}\n{"words": "a"}\n', "line 2: has no key 'text'. It has: words"),
        ("t.jsonl", '{"text": "a"}\n[1]\n', "line 2: is no JSON object but a list"),
        ("t.jsonl", '{"text": "a"}\n{"text": \n', "line 2: is no JSON"),
        ("t.csv", "text,n\na,1\na,1,2\n", "row 3: has 3 cells, and the header has 2"),
        ("t.csv", 'text,n\na,1\n5" pipe,2\nb,3\n', "row 3: has a single quote mark"),
    ],
)  # fmt: skip
def test_a_record_that_is_none_is_named(tmp_path: Path, name: str, data: str, said: str) -> None:
    (tmp_path / name).write_text(data)
    with pytest.raises(DataError) as caught:
        TextDataset(tmp_path / name)
    assert f"{name}, {said}" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\x1f\x8b rest", "compressed with gzip"),
        ("text".encode("utf-16"), r"is UTF-16.*iconv -f UTF-16 -t UTF-8"),
        (b" \n\n", "all lines are blank"),
    ],
)
def test_a_file_that_holds_no_texts_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "texts.txt").write_bytes(data)
    with pytest.raises(DataError, match=said):
        TextDataset(tmp_path / "texts.txt")


def test_where_nothing_is_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"No text in .*lost\.txt: no such file; there"):
        TextDataset(tmp_path / "lost.txt")
    with pytest.raises(DatasetNotFoundError, match=r"No texts in .*: it holds no file"):
        TextDataset(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="the list: it is empty"):
        TextDataset([])
    with pytest.raises(DataError, match="A DataFrame is no list of texts"):
        TextDataset(pd.DataFrame({"text": ["a"]}))  # its items are the names of its columns


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9)


@given(texts=st.lists(CELLS, min_size=1, max_size=9), block=st.integers(1, 30))
@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_texts_come_back_from_files_read_in_blocks_of_any_size(
    tmp_path: Path, texts: list[str], block: int
) -> None:
    shown = [text for text in texts if max(text) > " "]
    with open(tmp_path / "t.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "at"), *((text, at) for at, text in enumerate(texts))])
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    plain = [text for text in shown if not set(text) & set("\r\n")]
    (tmp_path / "t.txt").write_bytes("\n".join(plain or ["none"]).encode())
    with pytest.MonkeyPatch.context() as patch:
        for module in ("index", "records"):
            patch.setattr(f"chirpid.data.text.{module}.BLOCK_BYTES", block)
        for name, expected in (("t.csv", shown), ("t.jsonl", shown), ("t.txt", plain or ["none"])):
            if expected:
                found = TextDataset(tmp_path / name)
                assert [found.text(index) for index in range(len(found))] == expected
