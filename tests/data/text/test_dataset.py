from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from chirpid.data.general.protocols import BatchReader
from chirpid.data.text.dataset import TextDataset
from chirpid.errors import ConfigError, DataError

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


def lines(folder: Path) -> Path:
    path = folder / "texts.txt"
    path.write_bytes("\ufeffa bird\r\n\n \t\nthe tree\nél owl 🐦".encode())
    return path


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
