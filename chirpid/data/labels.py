"""Tidy the text of labels and groups, and notice what is nearly the same."""

from __future__ import annotations

import ast
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable

_MISSING = {"", "nan", "<na>", "n/a", "#n/a", "null"}


def tidy(text: str) -> str:
    """Return `text` in Unicode's composed form, with single spaces and none around.

    What a program writes for an empty cell (nan, null, n/a, ...) becomes "".
    """
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return "" if text.lower() in _MISSING else text


def counted(number: int, noun: str) -> str:
    """Return "1 row", "2 rows"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def near_key(text: str) -> str:
    """Return what is left of `text` without case, spaces and punctuation."""
    return "".join(letter for letter in text.casefold() if letter.isalnum()) or text


def note_near_labels(labels: Iterable[str]) -> list[str]:
    """Return a note if some labels differ only in case, spaces or punctuation.

    They stay different classes: ChirpID does not guess which spelling is meant.
    """
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for label in labels:
        counts[near_key(label)][label] += 1
    near = [
        " ~ ".join(f"'{label}' ({number})" for label, number in sorted(same.items()))
        for _, same in sorted(counts.items())
        if len(same) > 1
    ]
    if not near:
        return []
    return [
        "Labels that are nearly the same count as different classes; make them one in the table if "
        f"they are one: {', '.join(near)}."
    ]


def unite_groups(groups: list[str]) -> tuple[list[str], list[str]]:
    """Return groups with one spelling for those that differ only in case, and notes about it.

    Uniting is the safe side: one recordist under two spellings would be on both sides of a split.
    """
    spellings: dict[str, set[str]] = defaultdict(set)
    for group in groups:
        spellings[group.casefold()].add(group)
    notes = [
        f"Groups that differ only in case are taken as one: {', '.join(sorted(same))}."
        for _, same in sorted(spellings.items())
        if len(same) > 1
    ]
    return [min(spellings[group.casefold()]) for group in groups], notes


def parse_secondary(text: str) -> list[str]:
    """Return the labels in a cell: a Python or JSON list, or names separated by ";"."""
    text = text.strip()
    if text[:1] in "[(" and text[-1:] in "])" and text:
        for parse in (ast.literal_eval, json.loads):
            try:
                found = parse(text)
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                continue
            if isinstance(found, (list, tuple)):
                return [name for name in (tidy(str(item)) for item in found) if name]
    return [name for name in (tidy(part) for part in text.split(";")) if name]
