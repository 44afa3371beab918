"""What a sample looks like, and that what is not clear is left alone."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from chirpid.data.collate import collators

draw = torch.Generator().manual_seed(0)
SOUND = torch.rand(16000, generator=draw) * 2 - 1
PHOTO = np.zeros((32, 32, 3), np.uint8)
LOG_MEL = torch.rand(1, 64, 313, generator=draw) * -80
Clip = namedtuple("Clip", ["wave", "label"])


@pytest.mark.parametrize(
    ("sample", "name"),
    [
        (SOUND, "audio"),
        ((SOUND, 3), "audio"),
        (Clip(SOUND, 3), "audio"),
        ((SOUND.expand(2, -1), 16000, "wren"), "audio"),
        ((SOUND * 32767).to(torch.int16), "audio"),
        ({"audio": {"array": [0.0, 1.0], "sampling_rate": 8000}, "label": 1}, "audio"),
        ({"wave": torch.zeros(5), "label": 1}, "audio"),
        (PHOTO, "vision"),
        ((Image.fromarray(PHOTO), 3), "vision"),
        ((torch.rand(3, 32, 32), 3), "vision"),
        ({"pixel_values": torch.randn(3, 8, 8), "labels": 1}, "vision"),
        ({"image": PHOTO, "species": "wren"}, "vision"),
        ("a text", "text"),
        (("a text", 1), "text"),
        ({"text": "a text", "label": 1}, "text"),
        ({"input_ids": [1, 2], "attention_mask": [1, 1]}, "text"),
        ({"image": PHOTO, "caption": "a wren", "label": 1}, "multimodal"),
        ({"wave": SOUND, "x": Image.fromarray(PHOTO)}, "multimodal"),
        # Not clearly any of them: nothing must happen to these.
        (torch.rand(784), "default"),
        (torch.randn(4096) * 3, "default"),
        (torch.zeros(0), "default"),
        (torch.arange(5000), "default"),
        ((LOG_MEL, 1), "default"),
        ((torch.randn(3, 32, 32), 1), "default"),
        (torch.rand(64, 64), "default"),
        (torch.rand(16, 5000), "default"),
        (np.zeros((3, 0, 4), np.float32), "default"),
        ([1, 2, 3], "default"),
        ({"name": "wren", "y": 1.5, "x": torch.rand(20)}, "default"),
        ({"text": 5}, "default"),
        ((), "default"),
        (3, "default"),
        (None, "default"),
    ],
)
def test_a_sample_is_what_it_looks_like(sample: Any, name: str) -> None:
    choice = collators.select(sample)
    assert choice.name == name, choice.why
    assert choice.why


def test_why_names_the_part_that_decided() -> None:
    why = collators.select({"image": PHOTO, "caption": "a wren", "label": 1}).why
    assert "sample['image'] is uint8 [32, 32, 3]" in why
    assert "sample['caption'] is str" in why
    assert "label" not in why


@pytest.mark.parametrize(
    "sample",
    [SOUND, (SOUND, 3), PHOTO, (Image.fromarray(PHOTO), 3), {"wave": torch.zeros(5), "label": 1}],
)
def test_what_is_chosen_can_collate_it(sample: Any) -> None:
    assert collators.make(collators.select(sample).name)([sample, sample]) is not None
