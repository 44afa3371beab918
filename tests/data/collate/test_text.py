"""Texts and token ids in one batch, with every make of tokenizer."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from chirpid.data.collate import TextCollator
from chirpid.errors import ConfigError, DataError

WORDS = "the wren sang and robin fell silent at dusk".split()  # noqa: SIM905 - it reads better
TEXTS = ["the wren sang", "dusk", "the robin fell silent"]


def tokenizer() -> Tokenizer:
    """Return a tokenizer of whole words that begins and ends each text."""
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    vocabulary = {word: n for n, word in enumerate([*names, *WORDS])}
    made = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(names)
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return made


IDS = [each.ids for each in tokenizer().encode_batch(TEXTS)]


class Hugging:
    """What a tokenizer of transformers looks like from outside."""

    pad_token_id = 0
    mask_token_id = 4
    all_special_ids = (0, 1, 2, 3, 4)

    def __call__(self, texts: list[str]) -> dict[str, list[list[int]]]:
        ids = [each.ids for each in tokenizer().encode_batch(texts)]
        return {"input_ids": ids, "attention_mask": [[1] * len(row) for row in ids]}

    def __len__(self) -> int:
        return 14


class Padding(Hugging):
    """One that is set to pad by itself, and gives arrays."""

    def __call__(self, texts: list[str]) -> dict[str, Any]:
        made = tokenizer()
        made.enable_padding(length=9)
        every = made.encode_batch(texts)
        return {
            "input_ids": np.array([each.ids for each in every]),
            "attention_mask": torch.tensor([each.attention_mask for each in every]),
        }


class OneByOne:
    """What a tokenizer of sentencepiece or tiktoken looks like from outside."""

    def encode(self, text: str) -> list[int]:
        return tokenizer().encode(text).ids


def padding_one() -> Tokenizer:
    made = tokenizer()
    made.enable_padding(direction="left")
    return made


def rows_of_ids(texts: list[str]) -> list[list[int]]:
    return Hugging()(texts)["input_ids"]


MAKES = {
    "tokenizers": tokenizer(), "padding": padding_one(), "transformers": Hugging(),
    "transformers-padding": Padding(), "function": rows_of_ids, "one-by-one": OneByOne(),
    "none": None,
}  # fmt: skip


@pytest.mark.parametrize("make", MAKES)
@pytest.mark.parametrize("side", ["right", "left"])
def test_every_make_of_tokenizer_gives_the_same_batch(make: str, side: str) -> None:
    collate = TextCollator(tokenizer=MAKES[make], pad_id=0, side=side)
    batch = collate(IDS if make == "none" else TEXTS)
    assert list(batch) == ["input_ids", "attention_mask"]
    for row, ids in enumerate(IDS):
        real = batch["attention_mask"][row].bool()
        assert batch["input_ids"][row][real].tolist() == ids
        assert not batch["input_ids"][row][~real].any()
        assert real[0 if side == "right" else -1]
    assert {each.dtype for each in batch.values()} == {torch.int64}
    assert batch["input_ids"].shape == (3, max(map(len, IDS)))


def test_tokens_take_the_place_of_the_text_in_a_dict() -> None:
    samples = [{"text": text, "label": n, "id": "a"} for n, text in enumerate(TEXTS)]
    batch = TextCollator(tokenizer=tokenizer())(samples)
    assert list(batch) == ["input_ids", "attention_mask", "label", "id"]
    assert batch["label"].tolist() == [0, 1, 2]


def test_tokens_are_a_dict_of_their_own_in_a_tuple() -> None:
    tokens, labels = TextCollator(tokenizer=tokenizer())([(text, 1) for text in TEXTS])
    assert tokens["input_ids"].shape == (3, 6)
    assert labels.tolist() == [1, 1, 1]


def test_a_text_deep_in_a_dict_stays_where_it_is() -> None:
    collate = TextCollator(tokenizer=tokenizer(), field=("note", 0))
    batch = collate([{"note": [text, 1.0]} for text in TEXTS])
    assert batch["note"][0]["attention_mask"].sum(1).tolist() == [5, 3, 6]


def test_what_goes_with_tokens_is_padded_with_its_own_number() -> None:
    samples = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": list(range(len(ids))),
         "token_type_ids": np.ones(len(ids), int), "source": 5}
        for ids in IDS
    ]  # fmt: skip
    batch = TextCollator(pad_id=9)(samples)
    assert batch["input_ids"][1].tolist() == [*IDS[1], 9, 9, 9]
    assert batch["attention_mask"][1].tolist() == [1, 1, 1, 0, 0, 0]
    assert batch["token_type_ids"][1].tolist() == [1, 1, 1, 0, 0, 0]
    assert batch["labels"][1].tolist() == [0, 1, 2, -100, -100, -100]
    assert batch["source"].tolist() == [5, 5, 5]


def test_tokens_and_what_goes_with_them_must_be_as_many() -> None:
    with pytest.raises(DataError, match=r"sample\['labels'\] has 1 items in sample 0 of the batch"):
        TextCollator(pad_id=0)([{"input_ids": [1, 2], "labels": [1]}])


def test_a_cut_is_told_once_and_counted_if_wanted() -> None:
    collate = TextCollator(tokenizer=tokenizer(), max_length=4, count_cut=True)
    with pytest.warns(UserWarning, match="max_length=4 cut 2 of 3 texts at sample, the longest of "
                                         "6 tokens"):  # fmt: skip
        batch = collate(TEXTS)
    assert batch["input_ids"].shape == (3, 4)
    assert batch["num_cut"].tolist() == [1, 0, 2]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        collate(TEXTS)


def test_long_texts_can_be_refused() -> None:
    with pytest.raises(DataError, match="sample is 5 long in sample 0 of the batch, 4 is the most"):
        TextCollator(tokenizer=tokenizer(), max_length=4, on_long="error")(TEXTS)


def test_lengths_are_multiples_if_wanted() -> None:
    assert TextCollator(pad_id=0, multiple_of=8)(IDS)["input_ids"].shape == (3, 8)


@pytest.mark.parametrize(
    ("samples", "options", "told"),
    [
        (["a text"], {}, "there is no tokenizer"),
        ([{"note": 1.0}], {}, "Which part of a sample is the text? Found none"),
        ([{"text": "a", "caption": "b"}], {}, "Found sample['text'], sample['caption']"),
        ([[1], [0.5]], {}, "sample is list in sample 1 of the batch, neither a text nor"),
        (["a", 5], {"tokenizer": tokenizer()}, "is a text in sample 0 of the batch and int"),
        (["a"], {"tokenizer": lambda texts: []}, "gave 0 rows of ids for 1 texts"),
        (["a b"], {"tokenizer": lambda texts: [t.split() for t in texts]}, "gave ['a', 'b'] for a"),
        ([{"text": [1], "attention_mask": 1}], {}, "sample['attention_mask'] is there already"),
    ],
)
def test_what_is_no_text_is_named(samples: Any, options: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError) as error:
        TextCollator(pad_id=0, **options)(samples)
    assert told in str(error.value)


def test_a_tokenizer_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="Of a function of one text, make one of a list"):
        TextCollator(pad_id=0, tokenizer=str.split)(["a"])
    with pytest.raises(ConfigError, match="tokenizer=int has neither encode_batch nor encode"):
        TextCollator(pad_id=0, tokenizer=5)(["a"])


def test_padding_is_never_guessed() -> None:
    with pytest.raises(ConfigError, match="pad_id is not set"):
        TextCollator(tokenizer=rows_of_ids)
    assert TextCollator(tokenizer=tokenizer()).pad_id == 0
    assert TextCollator(tokenizer=Hugging()).pad_id == 0
    own = tokenizer()
    own.enable_padding(pad_id=7)
    assert TextCollator(tokenizer=own).pad_id == 7


def test_it_survives_pickling_with_its_tokenizer() -> None:
    collate = TextCollator(tokenizer=tokenizer(), max_length=8)
    copy = pickle.loads(pickle.dumps(collate))
    assert torch.equal(copy(TEXTS)["input_ids"], collate(TEXTS)["input_ids"])
