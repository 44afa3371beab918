"""Samples of several modalities, some of which are missing."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch

from chirpid.data.collate import (
    AudioCollator,
    CollatorRegistry,
    LanguageModelCollator,
    MultimodalCollator,
    PadCollator,
    TextCollator,
    VisionCollator,
    collators,
)
from chirpid.errors import ConfigError, DataError

IMAGE = np.arange(90, dtype=np.uint8).reshape(6, 5, 3)
FIELDS = {
    "image": VisionCollator(normalise="imagenet"),
    "text": LanguageModelCollator(pad_id=7),
    "wave": AudioCollator(value=-1),
}


def sample(n: int, *without: str) -> dict[str, Any]:
    """Return a sample that lacks some modalities: the even ones as None, the odd ones at all."""
    whole: dict[str, Any] = {
        "image": IMAGE + n, "text": [1] * (n + 1), "wave": torch.ones(n + 2), "label": n,
    }  # fmt: skip
    if n % 2:
        return {key: value for key, value in whole.items() if key not in without}
    return {key: None if key in without else value for key, value in whole.items()}


def test_each_field_is_collated_by_its_own() -> None:
    samples = [sample(n) for n in range(3)]
    batch = MultimodalCollator(fields=FIELDS)(samples)
    assert list(batch) == ["image", "text", "wave", "label", "present"]
    for key, collate in FIELDS.items():
        alone = collate([each[key] for each in samples])
        got = batch[key]
        for mine, theirs in zip(_flat(got), _flat(alone), strict=True):
            assert torch.equal(mine, theirs)
    assert batch["label"].tolist() == [0, 1, 2]
    assert {key: has.tolist() for key, has in batch["present"].items()} == dict.fromkeys(
        ["image", "text", "wave", "label"], [True] * 3
    )


def _flat(batch: Any) -> list[torch.Tensor]:
    if isinstance(batch, torch.Tensor):
        return [batch]
    return list(batch.values() if isinstance(batch, dict) else batch)


def test_a_missing_modality_is_padding_that_no_loss_counts() -> None:
    samples = [sample(0, "text"), sample(1, "image", "wave"), sample(2)]
    batch = MultimodalCollator(fields=FIELDS)(samples)
    assert batch["present"]["image"].tolist() == [True, False, True]
    assert batch["present"]["text"].tolist() == [False, True, True]
    assert not batch["image"][1].any()
    assert torch.equal(batch["image"][[0, 2]], FIELDS["image"]([IMAGE, IMAGE + 2]))
    assert batch["text"]["input_ids"].tolist() == [[7, 7, 7], [1, 1, 7], [1, 1, 1]]
    assert batch["text"]["labels"].tolist() == [[-100] * 3, [1, 1, -100], [1, 1, 1]]
    assert not batch["text"]["attention_mask"][0].any()
    assert batch["wave"].lengths.tolist() == [2, 0, 4]
    assert batch["wave"].values[1].tolist() == [-1] * 4
    assert not batch["wave"].mask[1].any()


def test_a_missing_modality_can_be_left_out() -> None:
    samples = [sample(0), sample(1, "image"), sample(2)]
    batch = MultimodalCollator(fields=FIELDS, missing="leave_out")(samples)
    assert len(batch["image"]) == 2
    rows = batch["present"]["image"].nonzero()[:, 0]
    assert rows.tolist() == [0, 2]
    assert len(batch["text"]["input_ids"]) == 3


def test_a_modality_that_all_lack_is_none_and_said_so() -> None:
    batch = MultimodalCollator(fields=FIELDS)([sample(0, "wave"), sample(1, "wave")])
    assert batch["wave"] is None
    assert batch["present"]["wave"].tolist() == [False, False]


@pytest.mark.parametrize(
    ("samples", "options", "told"),
    [
        ([sample(0), sample(1, "label")], {}, "sample['label'] is missing in sample 1"),
        ([sample(0), sample(1, "image")], {"missing": "error"}, "sample['image'] is missing in"),
        ([(IMAGE, "text", 1)], {}, "sample 0 of the batch is a tuple of 3"),
        ([{"present": 1}], {}, "Set presence to another key"),
        ([{"image": IMAGE}, {"image": IMAGE[:5]}], {}, "sample['image'], where sample is that "
         "field: sample is 6×5"),
        ([], {}, "no samples"),
    ],
)  # fmt: skip
def test_what_must_not_be_missing_is_named(
    samples: Any, options: dict[str, Any], told: str
) -> None:
    with pytest.raises(DataError) as error:
        MultimodalCollator(fields=FIELDS, **options)(samples)
    assert told in str(error.value)


def test_fields_that_are_not_named_are_looked_at() -> None:
    samples = [
        {"image": IMAGE, "wave": torch.zeros(n + 1), "species": "wren", "y": 1.5} for n in range(2)
    ]
    samples[1]["image"] = None
    batch = MultimodalCollator()(samples)
    assert batch["image"].shape == (2, 3, 6, 5)
    assert batch["present"]["image"].tolist() == [True, False]
    assert batch["wave"].lengths.tolist() == [1, 2]
    assert batch["species"] == ["wren", "wren"]
    assert batch["y"].dtype == torch.float64


def test_names_are_those_of_the_registry_that_is_asked() -> None:
    own = CollatorRegistry()
    own.register("twice")(_twice)
    batch = MultimodalCollator(fields={"x": "twice"}, make=own.make)([{"x": 2}])
    assert batch["x"].tolist() == [4]
    usual = collators.make("multimodal", fields={"image": "vision", "x": "pad"})
    assert usual([{"image": IMAGE, "x": [1, 2]}])["x"].lengths.tolist() == [2]
    with pytest.raises(ConfigError, match="Unknown collator 'visoin'"):
        MultimodalCollator(fields={"image": "visoin"})


def _twice(values: list[int]) -> torch.Tensor:
    return torch.tensor(values) * 2


def test_rows_are_not_made_up_where_there_is_none_for_each() -> None:
    def total(values: list[Any]) -> torch.Tensor:
        return torch.tensor(float(len(values)))

    collate = MultimodalCollator(fields={"x": total})
    assert collate([{"x": 1}])["x"] == 1
    with pytest.raises(DataError, match="no row for each"):
        collate([{"x": 1}, {"x": None}])


def test_texts_and_structures_are_spread_too() -> None:
    fields = {"a": "default", "b": PadCollator(), "c": "default"}
    samples = [
        {"a": "wren", "b": {"x": [1, 2]}, "c": (1.0, "s")},
        {"a": None},
        {"a": "robin", "b": {"x": [3]}, "c": (2.0, "t")},
    ]
    batch = MultimodalCollator(fields=fields)(samples)
    assert batch["a"] == ["wren", None, "robin"]
    assert batch["b"]["x"].values.tolist() == [[1, 2], [0, 0], [3, 0]]
    assert batch["c"][0].tolist() == [1, 0, 2]
    assert batch["c"][1] == ["s", None, "t"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"missing": "drop"}, "Choices: fill, leave_out, error."),
        ({"fields": {"present": "default"}}, "Set presence to another key"),
    ],
)
def test_settings_are_checked_at_once(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        MultimodalCollator(**options)
    assert told in str(error.value)


def test_it_survives_pickling() -> None:
    collate = MultimodalCollator(fields={"image": "vision", "text": TextCollator(pad_id=0)})
    copy = pickle.loads(pickle.dumps(collate))
    samples = [{"image": IMAGE, "text": [1, 2], "wave": torch.ones(2)}]
    assert torch.equal(copy(samples)["image"], collate(samples)["image"])
    assert copy(samples)["wave"].lengths.tolist() == [2]
