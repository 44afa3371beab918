from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.groups import number_folds
from chirpid.data.labels import note_near_labels, parse_secondary, tidy, unite_groups


@pytest.mark.parametrize("text", ["", "  ", "nan", "NaN", "<NA>", "n/a", "#N/A", "NULL", "\t"])
def test_an_empty_cell_is_no_label_whatever_program_wrote_it(text: str) -> None:
    assert tidy(text) == ""


def test_labels_are_compared_without_stray_spaces_and_unicode_forms() -> None:
    assert tidy(" Puerto  Rican\u00a0Tody\n") == "Puerto Rican Tody"
    assert tidy(unicodedata.normalize("NFD", "Colibrí")) == "Colibrí"
    assert tidy("none") == "none"


@given(st.text())
def test_tidying_twice_changes_nothing(text: str) -> None:
    assert tidy(tidy(text)) == tidy(text)


def test_near_labels_are_told_and_distinct_ones_are_not() -> None:
    note = note_near_labels(["Tody", "tody", "tody", "Adelaide's", "Adelaide’s", "Owl", "鳥", "虫"])
    assert len(note) == 1
    assert "'Tody' (1) ~ 'tody' (2)" in note[0]
    assert "Adelaide" in note[0]
    assert "Owl" not in note[0]
    assert "鳥" not in note[0]
    assert note_near_labels(["Owl", "Owl", "Tody"]) == []


def test_one_recordist_in_two_spellings_is_one_group() -> None:
    groups, notes = unite_groups(["Eric DeFonso", "eric defonso", "Nick"])
    assert groups[0] == groups[1] != groups[2]
    assert "eric defonso" in notes[0]


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("['amerob', 'houspa']", ["amerob", "houspa"]),
        ('["amerob"]', ["amerob"]),
        ("[]", []),
        ("", []),
        ("a; b ;;c", ["a", "b", "c"]),
        ("Adelaide's Warbler", ["Adelaide's Warbler"]),
        ("['broken", ["['broken"]),
        ("['x', null]", ["['x', null]"]),
        ("[1, 2]", ["1", "2"]),
    ],
)
def test_secondary_labels_are_read_from_lists_and_from_text(text: str, labels: list[str]) -> None:
    assert parse_secondary(text) == labels


def test_folds_count_from_zero_in_numeric_order() -> None:
    assert number_folds(["10", "2", "1", "2"])[0] == [2, 1, 0, 1]
    assert number_folds(["b", "a", "b"])[0] == [1, 0, 1]


def test_what_is_always_trained_on_has_no_fold() -> None:
    folds, notes = number_folds(["train", "test", "", "-1", "valid"])
    assert folds == [-1, 0, -1, -1, 1]
    assert "3 recordings" in notes[0]
