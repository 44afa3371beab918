"""Padding: what was there is there still, and the mask says where."""

from __future__ import annotations

import pickle
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.utils.rnn import pad_sequence

from chirpid.data.collate import DefaultCollator, PadCollator, Padded
from chirpid.errors import ConfigError, DataError
from tests.examples import examples

Clip = namedtuple("Clip", ["wave", "label"])


def taken_back(padded: Padded, row: int) -> torch.Tensor:
    """Return what the mask calls real in a row that was padded along one axis, the first."""
    return padded.values[row][padded.mask[row]]


@given(
    lengths=st.lists(st.integers(0, 9), min_size=1, max_size=6),
    tail=st.lists(st.integers(1, 3), max_size=2),
    side=st.sampled_from(["left", "right"]),
    multiple_of=st.integers(1, 4),
    dtype=st.sampled_from([torch.float32, torch.int64, torch.uint8, torch.float64]),
)
@settings(max_examples=examples(100), deadline=None)
def test_all_that_was_there_comes_back_by_the_mask(
    lengths: list[int], tail: list[int], side: str, multiple_of: int, dtype: torch.dtype
) -> None:
    arrays = [(torch.rand(length, *tail) * 99).to(dtype) for length in lengths]
    padded = PadCollator(side=side, multiple_of=multiple_of, value=7)(arrays)
    assert padded.values.dtype == dtype
    assert padded.lengths.tolist() == lengths
    assert padded.lengths.dtype == torch.int64
    assert padded.mask.dtype == torch.bool
    assert padded.values.shape[1] % multiple_of == 0
    assert 0 <= padded.values.shape[1] - max(lengths) < multiple_of
    for row, array in enumerate(arrays):
        assert torch.equal(taken_back(padded, row), array)
    assert (padded.values[~padded.mask] == 7).all()
    assert not padded.num_cut.any()


@pytest.mark.parametrize("side", ["left", "right"])
def test_it_pads_as_torch_does(side: str) -> None:
    arrays = [torch.rand(length, 2) for length in (3, 1, 4)]
    theirs = pad_sequence(arrays, batch_first=True, padding_side=side)
    assert torch.equal(PadCollator(side=side)(arrays).values, theirs)


@pytest.mark.parametrize(
    ("keep", "side", "kept", "mask"),
    [
        ("start", "right", [[0, 1, 2], [0, 1, -1]], [[1, 1, 1], [1, 1, 0]]),
        ("centre", "right", [[1, 2, 3], [0, 1, -1]], [[1, 1, 1], [1, 1, 0]]),
        ("end", "left", [[2, 3, 4], [-1, 0, 1]], [[1, 1, 1], [0, 1, 1]]),
    ],
)
def test_longer_ones_are_cut_and_counted(
    keep: str, side: str, kept: list[list[int]], mask: list[list[int]]
) -> None:
    padded = PadCollator(max_length=3, value=-1, keep=keep, side=side)(
        [torch.arange(5), torch.arange(2)]
    )
    assert padded.values.tolist() == kept
    assert padded.mask.int().tolist() == mask
    assert padded.lengths.tolist() == [3, 2]
    assert padded.num_cut.tolist() == [2, 0]


def test_longer_ones_can_be_refused() -> None:
    pad = PadCollator(max_length=3, on_long="error")
    with pytest.raises(DataError, match=r"sample\['x'\] is 5 long in sample 1 of the batch, 3 is"):
        pad([{"x": torch.zeros(3)}, {"x": torch.zeros(5)}])


def test_several_axes_are_padded_at_once() -> None:
    images = [torch.ones(1, 2, 3), torch.ones(1, 4, 1)]
    padded = PadCollator(axes=(1, 2))(images)
    assert padded.values.shape == (2, 1, 4, 3)
    assert padded.lengths.tolist() == [[2, 3], [4, 1]]
    assert torch.equal(padded.values[:, 0].bool(), padded.mask)
    assert padded.mask.sum((1, 2)).tolist() == [6, 4]


def test_an_axis_counted_from_the_end_is_that_of_waveforms() -> None:
    padded = PadCollator(axes=-1)([torch.ones(2, 3), torch.ones(2, 5)])
    assert padded.values.shape == (2, 2, 5)
    assert padded.lengths.tolist() == [3, 5]


def test_only_the_fields_that_are_named_are_padded() -> None:
    samples = [{"wave": torch.ones(n), "image": torch.ones(2, 2), "label": n} for n in (2, 3)]
    batch = PadCollator(fields=["wave"])(samples)
    assert batch["wave"].values.shape == (2, 3)
    rest = DefaultCollator()([{k: s[k] for k in ("image", "label")} for s in samples])
    assert torch.equal(batch["image"], rest["image"])
    assert torch.equal(batch["label"], rest["label"])


def test_nested_samples_keep_their_structure() -> None:
    samples = [
        Clip({"left": np.arange(n), "right": [1.5] * n}, (n, f"bird {n}")) for n in range(1, 4)
    ]
    batch = PadCollator()(samples)
    assert type(batch) is Clip
    assert batch.wave["left"].lengths.tolist() == [1, 2, 3]
    assert batch.wave["right"].values.dtype == torch.float64
    assert batch.label == [pytest.approx(torch.tensor([1, 2, 3])), ("bird 1", "bird 2", "bird 3")]
    by_name = PadCollator(fields=[("wave", "left")], lists=[("wave", "right")])(samples)
    assert by_name.wave["left"].lengths.tolist() == [1, 2, 3]
    assert [each.tolist() for each in by_name.wave["right"]] == [[1.5], [1.5] * 2, [1.5] * 3]


def test_a_batch_of_equal_lengths_is_made_like_any_other() -> None:
    for lengths in ((3, 3), (3, 4)):
        assert type(PadCollator()([torch.ones(n) for n in lengths])) is Padded


def test_lists_have_the_types_that_torch_gives_their_numbers() -> None:
    for number in (True, 2, 1.5):
        wanted = DefaultCollator()([number]).dtype
        assert PadCollator()([[number], [number] * 2]).values.dtype == wanted


def test_lists_of_nothing_keep_the_type_of_ids() -> None:
    padded = PadCollator()([[], []])
    assert padded.values.dtype == torch.int64
    assert padded.values.shape == (2, 0)


@pytest.mark.parametrize(
    ("options", "samples", "told"),
    [
        ({}, [torch.ones(2, 3), torch.ones(2, 4)], "they differ beyond axis 0"),
        ({}, [torch.ones(2), torch.ones(2, 4)], "they differ beyond axis 0"),
        ({"fields": ["wav"]}, [{"wave": [1]}], "There is no sample['wav']. Did you mean 'wave'?"),
        ({"fields": ["s"]}, [{"s": "text"}], "neither an array nor a list of numbers"),
        ({}, [], "no samples"),
    ],
)  # fmt: skip
def test_what_cannot_be_padded_is_named(
    options: dict[str, Any], samples: list[Any], told: str
) -> None:
    with pytest.raises(DataError) as error:
        PadCollator(**options)(samples)
    assert told in str(error.value)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"side": "middle"}, "side=middle is unknown. Choices: right, left."),
        ({"multiple_of": 0}, "multiple_of=0 must be a whole number of at least 1"),
        ({"multiple_of": 8, "max_length": 20}, "Take max_length=16."),
        ({"max_length": 0}, "max_length=0"),
        ({"axes": ()}, "name each axis to pad once"),
        ({"fields": "wave"}, "fields='wave': make it a list"),
        ({"fields": ["a"], "lists": ["a"]}, "sample['a'] is both"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_once(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        PadCollator(**options)
    assert told in str(error.value)


def test_a_value_that_the_type_cannot_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"value=-1 is no torch\.uint8"):
        PadCollator(value=-1)([torch.zeros(2, dtype=torch.uint8)])
    with pytest.raises(ConfigError, match=r"value=0\.5 is no torch\.int64"):
        PadCollator(value=0.5)([torch.arange(2)])
    with pytest.raises(ConfigError, match=r"value=nan is no torch\.int64"):
        PadCollator(value=float("nan"))([torch.arange(2)])


def test_an_axis_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"axes=\[1\], and sample\[0\] is float32 \[2\]"):
        PadCollator(axes=1)([(torch.ones(2), torch.ones(2, 2))])


def test_it_survives_pickling() -> None:
    pad = PadCollator(fields=["a"], side="left", multiple_of=4)
    assert pickle.loads(pickle.dumps(pad)) == pad
