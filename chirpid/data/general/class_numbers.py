"""Labels as people write them, turned into class numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from chirpid.data.labels import note_near_labels
from chirpid.errors import DataError, did_you_mean
from chirpid.types import IntArray

_WHOLE = re.compile(r"0|[1-9]\d{0,8}")


class Numbered(NamedTuple):
    """Labels as numbers."""

    ids: IntArray
    """int64 [N]."""
    classes: tuple[str, ...]
    """Names by number; empty where the labels were numbers and nobody named them."""
    notes: tuple[str, ...] = ()


def number_labels(labels: Sequence[Any], classes: Sequence[str] | None = None) -> Numbered:
    """Return the number of each label, int64 [N].

    Whole numbers, also those in the cells of a table, are class numbers as they are. Texts are
    numbered in sorted order, or in that of `classes`.

    Args:
        classes: names in the order of their numbers. Give those of the training set to a set that
            is validated: a class that is missing there would shift the numbers of the others.
    Raises:
        DataError: a label is no class, below 0, or neither a text nor a whole number.
    """
    labels = labels.tolist() if hasattr(labels, "tolist") else list(labels)
    if labels and all(_is_whole(label) for label in labels):
        return _as_they_are(labels, classes)
    texts = [_text_of(label) for label in labels]
    if classes is None and texts and all(_WHOLE.fullmatch(text) for text in texts):
        return _as_they_are([int(text) for text in texts], None)
    names = tuple(sorted(set(texts)) if classes is None else map(str, classes))
    numbers = {name: number for number, name in enumerate(names)}
    if len(numbers) < len(names):
        raise DataError(f"classes names one twice: {', '.join(names)}.")
    unknown = next((text for text in texts if text not in numbers), None)
    if unknown is not None:
        raise DataError(
            f"The label '{unknown}' is none of the {len(names)} classes."
            f"{did_you_mean(unknown, names)} Classes: {', '.join(names[:20])}."
        )
    ids = np.fromiter((numbers[text] for text in texts), dtype=np.int64, count=len(texts))
    return Numbered(ids, names, tuple(note_near_labels(texts)))


def in_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return names sorted, without repetition; numbers by value, so that 10 comes behind 9."""
    known = set(names)
    if all(_WHOLE.fullmatch(name) for name in known):
        return tuple(sorted(known, key=int))
    return tuple(sorted(known))


def _as_they_are(labels: Sequence[Any], classes: Sequence[str] | None) -> Numbered:
    ids = np.array([int(label) for label in labels], dtype=np.int64)
    if ids.min() < 0:
        raise DataError(f"The label {ids.min()} is below 0. Class numbers count from 0.")
    if classes is not None and ids.max() >= len(classes):
        raise DataError(f"The label {ids.max()} is none of {len(classes)} classes, 0 the first.")
    return Numbered(ids, tuple(map(str, classes or ())))


def _is_whole(label: Any) -> bool:
    return isinstance(label, int | np.integer)  # True and False are 1 and 0


def _text_of(label: Any) -> str:
    if isinstance(label, str):
        return label.strip()
    if _is_whole(label):
        return str(int(label))
    raise DataError(
        f"The label {label!r} is a {type(label).__name__}. Labels are texts or whole numbers."
    )
