from __future__ import annotations

from pathlib import Path

import pytest

from chirpid.cli.help import show
from chirpid.config.settings import (
    all_settings,
    describe_type,
    docs,
    flatten,
    sections,
    siblings,
)

PUBLIC = Path(__file__).with_name("public_settings.txt")


def test_the_public_settings_are_exactly_those_agreed_on() -> None:
    """Adding a setting is a decision: it goes into the list by hand, in the same commit."""
    agreed = PUBLIC.read_text(encoding="utf-8").split("\n")
    found = [f"{key} = {show(one.default)}" for key, one in all_settings().items()]
    assert found == [line for line in agreed if line]


def test_groups_of_settings_are_found_at_every_depth() -> None:
    assert "loader" in sections()
    assert "dataset.demo" in sections()
    assert siblings("memory") == ["fraction", "budget_gib", "guard"]
    assert {"name", "seed", "loader"} <= set(siblings(""))


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("loader.batch_size", "a whole number"),
        ("loader.num_workers", "a whole number or null"),
        ("optim.lr", "a number"),
        ("explain", "true or false"),
        ("name", "text"),
        ("dataset.root", "text or null"),
        ("mode.keep", "one of spectrogram, waveform"),
        ("mode.dtype", "one of uint8, int16, float16, float32 or null"),
        ("cv.folds", "a list like [0,1] or null"),
        ("model.params", "a mapping like {a: 1}"),
        ("dataset.mix", "a list like [{root: text, weight: a number}]"),
    ],
)
def test_types_are_told_in_words(key: str, words: str) -> None:
    assert describe_type(all_settings()[key].annotation) == words


def test_docstrings_of_fields_are_found_and_only_those() -> None:
    found = docs(all_settings()["loader.prefetch"].owner)
    assert found["prefetch"] == "Batches in preparation per worker."
    assert found["num_workers"] == ""


def test_flatten_keeps_lists_and_empty_mappings_as_values() -> None:
    nested = {"a": {"b": [1, {"c": 2}], "d": {}}, "e": None}
    assert flatten(nested) == {"a.b": [1, {"c": 2}], "a.d": {}, "e": None}
