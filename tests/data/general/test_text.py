from __future__ import annotations

import csv
import json
import os
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from chirpid.data.general.characters import PAD, UNKNOWN, CharacterTokenizer
from chirpid.data.general.file_names import DatasetNotFoundError
from chirpid.data.general.protocols import BatchReader
from chirpid.data.general.text import TextDataset
from chirpid.errors import ConfigError, DataError
from tests.examples import examples

WORDS = ("[PAD]", "[UNK]", "a", "bird", "sings", "in", "the", "tree")
TEXTS = ["a bird sings", "the tree", "a bird sings in the tree", "an owl"]
IDS = [[2, 3, 4], [6, 7], [2, 3, 4, 5, 6, 7], [1, 1]]


@pytest.fixture(scope="module")
def words() -> Any:
    """A tokenizer of the package tokenizers: one id a word."""
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: at for at, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return made


class Called:
    """A tokenizer as those of transformers are called."""

    pad_token_id = 0

    def __call__(self, texts: list[str]) -> dict[str, list[list[int]]]:
        known = {word: at for at, word in enumerate(WORDS)}
        return {"input_ids": [[known.get(word, 1) for word in text.split()] for text in texts]}


class Encodes:
    """A tokenizer with nothing but `encode`."""

    def encode(self, text: str) -> list[int]:
        return Called()([text])["input_ids"][0]


def ids_of(dataset: TextDataset) -> list[list[int]]:
    return [sample["input_ids"][: sample["length"]].tolist() for sample in dataset]  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["tokenizers", "called", "encode"])
def test_tokenizers_of_any_make_give_the_same_samples(kind: str, words: Any) -> None:
    tokenizer = {"tokenizers": words, "called": Called(), "encode": Encodes()}[kind]
    found = TextDataset(TEXTS, tokenizer=tokenizer, max_length=5, pad_id=0, labels=[0, 1, 1, 0])
    assert ids_of(found) == [ids[:5] for ids in IDS]
    sample = found[1]
    assert sample["input_ids"].tolist() == [6, 7, 0, 0, 0]
    assert sample["attention_mask"].tolist() == [1, 1, 0, 0, 0]
    assert (sample["length"], sample["label"]) == (2, 1)
    assert found.thread_safe == (kind == "tokenizers")
    assert found.text(2) == TEXTS[2]


def test_padding_of_the_tokenizer_itself_does_not_count(words: Any) -> None:
    padding = pickle.loads(pickle.dumps(words))
    padding.enable_padding(length=9)
    assert ids_of(TextDataset(TEXTS, tokenizer=padding, max_length=8)) == IDS


def test_a_batch_is_what_torch_makes_of_the_samples(words: Any) -> None:
    found = TextDataset(TEXTS, tokenizer=words, max_length=5, labels=["x", "y", "y", "z"])
    assert isinstance(found, BatchReader)
    out = found.layout.empty(3)
    found.read_into(np.array([2, 0, 2]), out)
    (expected,) = DataLoader(found, batch_size=3, sampler=[2, 0, 2])  # type: ignore[arg-type]
    made = out.tree()
    assert list(made) == list(expected) == ["input_ids", "attention_mask", "length", "label"]
    for name, column in made.items():
        assert column.dtype == expected[name].dtype
        assert column.equal(expected[name]), name


def test_without_padding_samples_are_as_long_as_their_texts(words: Any) -> None:
    found = TextDataset(TEXTS, tokenizer=words, padding=None)
    assert [sample["input_ids"].tolist() for sample in found] == IDS  # type: ignore[attr-defined]
    assert set(found[0]) == {"input_ids", "length"}
    assert not isinstance(found, BatchReader)


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_windows_hold_every_token_of_a_long_text(stride: int) -> None:
    texts = ["abc", "abcdefghij", "k", "lmnop"]
    found = TextDataset(texts, max_length=4, stride=stride, labels=[0, 1, 2, 3])
    tokenizer = found.tokenizer
    windows = [tokenizer.decode(sample["input_ids"]) for sample in found]  # type: ignore[attr-defined]
    for number, text in enumerate(texts):
        of_text = [windows[at] for at in np.flatnonzero(found.text_ids == number)]
        begins = [stride * at for at in range(len(of_text))]
        assert of_text == [text[begin : begin + 4] for begin in begins]
        assert begins[-1] + 4 >= len(text) > begins[-1]
        assert len(of_text) == 1 or begins[-2] + 4 < len(text)  # none is there for nothing
    assert found.labels is not None
    assert found.labels.tolist() == found.text_ids.tolist()
    assert found.num_cut == 0


def test_what_is_cut_is_counted_and_said() -> None:
    found = TextDataset(["abc", "abcdef", "abcde"], max_length=4)
    assert found.lengths.tolist() == [3, 6, 5]
    assert found.num_cut == 2
    assert "2 of 3 texts that were tried are longer than max_length=4" in found.notes[0]
    assert TextDataset(["abc"], max_length=4).notes == []


class TestCharacters:
    def test_ids_are_sorted_and_what_is_unknown_is_one(self) -> None:
        tokenizer = CharacterTokenizer.of_texts(["鳥b", "ab🐦"])
        assert tokenizer.characters == "ab鳥🐦"
        assert tokenizer.encode("bc🐦a").tolist() == [3, UNKNOWN, 5, 2]
        assert tokenizer.decode([3, 1, 2, PAD, PAD]) == "b\N{REPLACEMENT CHARACTER}a"
        assert len(tokenizer) == 6
        assert CharacterTokenizer("").encode("ab").tolist() == [UNKNOWN, UNKNOWN]

    @given(st.lists(st.text(max_size=8), max_size=4), st.text(max_size=8))
    def test_known_texts_come_back_and_ids_do_not_depend_on_order(
        self, texts: list[str], other: str
    ) -> None:
        tokenizer = CharacterTokenizer.of_texts(texts)
        assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts
        again = CharacterTokenizer.of_texts(reversed(texts))
        assert (again.encode(other) == tokenizer.encode(other)).all()
        assert (tokenizer.encode(other) < len(tokenizer)).all()

    def test_one_that_is_saved_serves_as_it_was_trained(self, tmp_path: Path) -> None:
        trained = TextDataset(["abc", "das Käuzchen"]).tokenizer
        trained.save(tmp_path / "ids.json")
        served = CharacterTokenizer.load(tmp_path / "ids.json")
        assert (served.encode("Käse") == trained.encode("Käse")).all()
        valid = TextDataset(["xa"], tokenizer=served, max_length=3)
        assert valid[0]["input_ids"].tolist() == [UNKNOWN, trained.encode("a")[0], PAD]

    @pytest.mark.parametrize("text", ["{", "[]", '{"kind": "words"}'])
    def test_another_file_is_refused(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "ids.json").write_text(text)
        with pytest.raises(DataError, match=r"ids\.json .*Save the tokenizer again"):
            CharacterTokenizer.load(tmp_path / "ids.json")
        with pytest.raises(DataError, match="Cannot read"):
            CharacterTokenizer.load(tmp_path / "none.json")


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


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_length": 0}, "max_length=0"),
        ({"stride": 9}, "stride=9"),
        ({"padding": "longest"}, "padding='longest'"),
        ({"labels": "kind"}, "names a column, and a list has none"),
        ({"tokenizer": Encodes()}, "pad_id is not set"),
        ({"labels": [1]}, "4 texts, blank ones among them, and 1 labels"),
        ({"labels": [0.5, 1, 1, 1]}, "The label 0.5 is a float"),
        ({"labels": [-1, 1, 1, 1]}, "The label -1 is below 0"),
        ({"labels": list("abca"), "classes": ["a", "b"]}, "The label 'c' is none of the 2"),
    ],
)
def test_a_wrong_setting_is_one_line(options: dict[str, Any], said: str) -> None:
    with pytest.raises((ConfigError, DataError)) as caught:
        TextDataset(TEXTS, **{"max_length": 8, **options})
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


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
        for module in ("text_index", "text_records"):
            patch.setattr(f"chirpid.data.general.{module}.BLOCK_BYTES", block)
        for name, expected in (("t.csv", shown), ("t.jsonl", shown), ("t.txt", plain or ["none"])):
            if expected:
                found = TextDataset(tmp_path / name)
                assert [found.text(index) for index in range(len(found))] == expected


def test_a_file_that_changes_is_not_read_at_the_old_places(tmp_path: Path) -> None:
    path = lines(tmp_path)
    found = pickle.loads(pickle.dumps(TextDataset(path)))
    path.write_text("another text, and longer than the one before\n")
    with pytest.raises(DataError, match=r"texts\.txt has changed since it was opened"):
        found[0]


def test_threads_and_forked_workers_give_what_the_caller_gives(tmp_path: Path, words: Any) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join(TEXTS[at % 4] for at in range(60)))
    found = TextDataset(path, tokenizer=words, max_length=6)
    expected = torch.stack([found[index]["input_ids"] for index in range(60)])
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda index: found[index]["input_ids"], range(60)))
    assert torch.stack(made).equal(expected)
    loader = DataLoader(found, batch_size=7, num_workers=2, multiprocessing_context="fork")
    assert torch.cat([batch["input_ids"] for batch in loader]).equal(expected)


@pytest.mark.parametrize("mode", ["eager", "cached", "streaming"])
def test_every_mode_gives_the_same_samples(tmp_path: Path, mode: str) -> None:
    found = TextDataset(lines(tmp_path), labels=[2, 1, 0, 1, 0], max_length=4, stride=3)
    kept = found.in_mode(mode, cache_root=tmp_path / "caches")
    assert len(kept) == len(found) > 3
    for at in range(len(found)):
        assert list(kept[at]) == list(found[at])
        for name, value in found[at].items():
            assert kept[at][name].equal(torch.as_tensor(value)), name


def test_a_pickled_copy_holds_places_and_not_the_file(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("\n".join("word " * 200 for _ in range(50)))
    found = TextDataset(path)
    assert found[3]["length"] == 512
    assert len(pickle.dumps(found)) < 4000
    assert pickle.loads(pickle.dumps(found))[3]["input_ids"].equal(found[3]["input_ids"])
    found.close()
    assert found[3]["length"] == 512


def test_the_fingerprint_follows_texts_labels_tokenizer_and_settings(
    tmp_path: Path, words: Any
) -> None:
    path = lines(tmp_path)
    settings: list[dict[str, Any]] = [
        {}, {"max_length": 9}, {"stride": 3}, {"labels": [0] * 5}, {"tokenizer": words},
        {"labels": [0, 1, 1, 1, 1]}, {"pad_id": 1},
    ]  # fmt: skip
    marks = [TextDataset(path, **setting).fingerprint() for setting in settings]
    assert len(set(marks)) == len(marks)
    assert TextDataset(path).fingerprint() == marks[0]
    os.utime(path, ns=(1, 1))
    assert TextDataset(path).fingerprint() != marks[0]
    assert TextDataset(["ab", "c"]).fingerprint() != TextDataset(["a", "bc"]).fingerprint()
    with pytest.raises(ConfigError, match="no fingerprint"):
        TextDataset(path, tokenizer=Called()).fingerprint()
