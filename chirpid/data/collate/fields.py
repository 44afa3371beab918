"""Which leaf of a sample is the recording, the image, the text."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from chirpid.data.collate.tree import Field, Path, at, path_of, path_text
from chirpid.errors import DataError, did_you_mean

AUDIO_KEYS = frozenset(
    ("array", "audio", "input_values", "recording", "samples", "signal", "sound", "speech", "wav",
     "wave", "waveform")
)  # fmt: skip
IMAGE_KEYS = frozenset(("frame", "image", "img", "picture", "pixel_values", "pixels"))
TEXT_KEYS = frozenset(
    ("caption", "document", "input_ids", "prompt", "question", "sentence", "text", "tokens",
     "utterance")
)  # fmt: skip


def is_array(value: object) -> bool:
    """Return whether it is a tensor or an array of numpy."""
    return isinstance(value, (Tensor, np.ndarray))


def is_image_file(value: object) -> bool:
    """Return whether it is an image of Pillow, which need not be installed."""
    return type(value).__module__.startswith("PIL.") and hasattr(value, "getbands")


def is_ids(value: object) -> bool:
    """Return whether it is a list of whole numbers, or an array [T] of them."""
    if isinstance(value, list):
        return all(isinstance(item, (int, np.integer)) for item in value)
    if isinstance(value, np.ndarray):
        return value.ndim == 1 and value.dtype.kind in "iu"
    return isinstance(value, Tensor) and value.dim() == 1 and not value.is_floating_point()


def field_path(
    sample: Any,
    field: Field | None,
    *,
    keys: frozenset[str],
    fits: Callable[[Any], bool],
    what: str,
) -> Path:
    """Return the way to the leaf that a collator is about.

    Named by `field`, or found: in a mapping under one of `keys`, else the only leaf that fits; in
    a tuple or list its first item; a sample that fits is the leaf itself.

    Raises:
        DataError: there is none, or more than one.
    """
    if field is not None:
        check_field(sample, path_of(field))
        return path_of(field)
    found = list(_candidates(sample, (), keys, fits))
    if len(found) == 1:
        return found[0]
    have = ", ".join(path_text(path) for path in found) or "none"
    raise DataError(
        f"Which part of a sample is the {what}? Found {have} in {outline(sample)}. Set field= to "
        "its key or place, or to a tuple of steps."
    )


def check_field(sample: Any, path: Path) -> None:
    """Check that a sample has the field.

    Raises:
        DataError: it has not.
    """
    for depth, step in enumerate(path):
        try:
            at(sample, path[: depth + 1])
        except LookupError as error:
            above = at(sample, path[:depth])
            known = [str(key) for key in above] if isinstance(above, Mapping) else []
            raise DataError(
                f"There is no {path_text(path[: depth + 1])}.{did_you_mean(str(step), known)} "
                f"A sample here is {outline(sample)}."
            ) from error


def outline(sample: Any) -> str:
    """Return what a sample is made of, in a few words: "a dict with 'wave', 'label'"."""
    if isinstance(sample, Mapping):
        return "a dict with " + (", ".join(map(repr, sample)) or "nothing")
    if isinstance(sample, (tuple, list)):
        return f"a {type(sample).__name__} of {len(sample)}"
    return f"a {type(sample).__name__}"


def _candidates(
    sample: Any, path: Path, keys: frozenset[str], fits: Callable[[Any], bool]
) -> Iterator[Path]:
    if fits(sample):
        yield path
    elif isinstance(sample, Mapping):
        named = [key for key in sample if str(key).lower() in keys]
        for key in named or [key for key in sample if fits(sample[key])]:
            yield from _candidates(sample[key], (*path, key), keys, fits)
    elif isinstance(sample, (tuple, list)) and sample:
        step = sample._fields[0] if hasattr(sample, "_fields") else 0
        yield from _candidates(sample[0], (*path, step), keys, fits)
