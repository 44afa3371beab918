"""What a sample looks like: a recording, an image, a text, several of them, or neither."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from chirpid.data.collate.default import told_kind
from chirpid.data.collate.fields import (
    AUDIO_KEYS,
    IMAGE_KEYS,
    TEXT_KEYS,
    is_array,
    is_ids,
    is_image_file,
    outline,
)
from chirpid.data.collate.padding import is_long
from chirpid.data.collate.tree import Path, path_text

WAVE_SAMPLES = 2000
"""From here on, a row of numbers within `WAVE_PEAK` is taken for sound: an eighth of a second at
16 kHz. Shorter ones are features."""
WAVE_PEAK = 1.5
MOST_CHANNELS = 8


class Choice(NamedTuple):
    """Which collator fits a sample, and what about the sample says so."""

    name: str
    why: str


def modality_of(sample: Any) -> Choice:
    """Return which of audio, vision, text, multimodal and default a sample looks like.

    A dict is what its fields are, by their keys first. Of a tuple the first item decides; the
    others go with it as labels do. What is not clearly one of them is `default`, which changes
    nothing.
    """
    if isinstance(sample, Mapping):
        return _of_mapping(sample)
    if isinstance(sample, (tuple, list)) and sample and not is_ids(sample):
        return _of_value(sample[0], (0,)) or _neither(sample)
    return _of_value(sample, ()) or _neither(sample)


def of_field(value: Any, key: str) -> Choice | None:
    """Return what a field of a dict looks like; None if it is just data."""
    kinds = (("audio", AUDIO_KEYS), ("vision", IMAGE_KEYS), ("text", TEXT_KEYS))
    for name, keys in kinds:
        if key.lower() in keys and _may_be(name, value):
            return Choice(name, f"{path_text((key,))} is {told_kind(value)} under such a key")
    # A text under any other key is a name or a label.
    return None if isinstance(value, str) else _of_value(value, (key,))


def _may_be(name: str, value: Any) -> bool:
    if name == "text":
        return isinstance(value, str) or is_ids(value)
    if name == "vision":
        return is_image_file(value) or (is_array(value) and value.ndim in (2, 3))
    if isinstance(value, Mapping):
        return any(str(key).lower() in AUDIO_KEYS and is_long(value[key]) for key in value)
    return is_long(value)


def _of_mapping(sample: Mapping[Any, Any]) -> Choice:
    found = [choice for key in sample if (choice := of_field(sample[key], str(key))) is not None]
    names = list(dict.fromkeys(choice.name for choice in found))
    if len(names) > 1:
        return Choice("multimodal", "; ".join(choice.why for choice in found))
    return found[0] if found else _neither(sample)


def _neither(sample: Any) -> Choice:
    return Choice("default", f"{outline(sample)} that looks like no recording, image or text")


def _of_value(value: Any, path: Path) -> Choice | None:
    where = f"{path_text(path)} is {told_kind(value)}"
    if is_image_file(value):
        return Choice("vision", f"{where}, an image of Pillow")
    if isinstance(value, str):
        return Choice("text", where)
    if not is_array(value):
        return None
    if _is_image(value):
        return Choice("vision", f"{where}, as images are")
    if _is_wave(value):
        return Choice("audio", f"{where}, within ±{WAVE_PEAK}, as waveforms are")
    return None


def _is_image(value: Any) -> bool:
    if value.ndim != 3 or not {value.shape[0], value.shape[2]} & {1, 3, 4}:
        return False
    if _name(value) == "uint8":
        return True
    # A log-mel [1, M, F] is as long as wide as an image; its decibels are not in [0, 1].
    return _is_float(value) and _is_within(value, 0.0, 1.0)


def _is_wave(value: Any) -> bool:
    shape = tuple(value.shape)
    if not shape or len(shape) > 2 or shape[-1] < WAVE_SAMPLES:
        return False
    if len(shape) == 2 and shape[0] > MOST_CHANNELS:
        return False
    if _name(value) == "int16":
        return True
    return _is_float(value) and _is_within(value, -WAVE_PEAK, WAVE_PEAK)


def _name(value: Any) -> str:
    return str(value.dtype).removeprefix("torch.")


def _is_float(value: Any) -> bool:
    return _name(value) in ("float16", "bfloat16", "float32", "float64")


def _is_within(value: Any, low: float, high: float) -> bool:
    numbers = value.detach() if isinstance(value, Tensor) else value
    if 0 in numbers.shape:
        return False
    return bool(numbers.min() >= low and numbers.max() <= high)
