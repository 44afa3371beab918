from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.data.text.characters import PAD, UNKNOWN, CharacterTokenizer
from chirpid.data.text.dataset import TextDataset
from chirpid.errors import DataError


def test_ids_are_sorted_and_what_is_unknown_is_one() -> None:
    tokenizer = CharacterTokenizer.of_texts(["鳥b", "ab🐦"])
    assert tokenizer.characters == "ab鳥🐦"
    assert tokenizer.encode("bc🐦a").tolist() == [3, UNKNOWN, 5, 2]
    assert tokenizer.decode([3, 1, 2, PAD, PAD]) == "b\N{REPLACEMENT CHARACTER}a"
    assert len(tokenizer) == 6
    assert CharacterTokenizer("").encode("ab").tolist() == [UNKNOWN, UNKNOWN]


@given(st.lists(st.text(max_size=8), max_size=4), st.text(max_size=8))
@settings(deadline=None)
def test_known_texts_come_back_and_ids_do_not_depend_on_order(texts: list[str], other: str) -> None:
    tokenizer = CharacterTokenizer.of_texts(texts)
    assert [tokenizer.decode(tokenizer.encode(text)) for text in texts] == texts
    again = CharacterTokenizer.of_texts(reversed(texts))
    assert (again.encode(other) == tokenizer.encode(other)).all()
    assert (tokenizer.encode(other) < len(tokenizer)).all()


def test_one_that_is_saved_serves_as_it_was_trained(tmp_path: Path) -> None:
    trained = TextDataset(["abc", "das Käuzchen"]).tokenizer
    trained.save(tmp_path / "ids.json")
    served = CharacterTokenizer.load(tmp_path / "ids.json")
    assert (served.encode("Käse") == trained.encode("Käse")).all()
    valid = TextDataset(["xa"], tokenizer=served, max_length=3)
    assert valid[0]["input_ids"].tolist() == [UNKNOWN, trained.encode("a")[0], PAD]


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "words"}'])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "ids.json").write_text(text)
    with pytest.raises(DataError, match=r"ids\.json .*Save the tokenizer again"):
        CharacterTokenizer.load(tmp_path / "ids.json")
    with pytest.raises(DataError, match="Cannot read"):
        CharacterTokenizer.load(tmp_path / "none.json")
