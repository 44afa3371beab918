"""Recordings of unlike length in one batch."""

from __future__ import annotations

import pickle
from collections import namedtuple
from typing import Any

import numpy as np
import pytest
import torch

from chirpid.data.collate import AudioCollator, Padded
from chirpid.errors import ConfigError, DataError

Clip = namedtuple("Clip", ["wave", "sample_rate"])


def wave(num_samples: int, *channels: int) -> torch.Tensor:
    return torch.linspace(-1, 1, num_samples).expand(*channels, num_samples).clone()


@pytest.mark.parametrize("channels", [(), (2,)])
def test_recordings_are_padded_to_the_longest(channels: tuple[int, ...]) -> None:
    clips = [(wave(n, *channels), n) for n in (5, 8)]
    padded, labels = AudioCollator()(clips)
    assert type(padded) is Padded
    assert padded.values.shape == (2, *channels, 8)
    assert padded.lengths.tolist() == [5, 8]
    assert padded.mask.sum(1).tolist() == [5, 8]
    for row, (clip, n) in zip(padded.values, clips, strict=True):
        assert torch.equal(row[..., :n], clip)
        assert not row[..., n:].any()
    assert torch.equal(labels, torch.tensor([5, 8]))


def test_every_batch_is_as_long_as_told() -> None:
    collate = AudioCollator(num_samples=6, keep="centre")
    padded = collate([wave(4), torch.arange(8.0)])
    assert padded.values.shape == (2, 6)
    assert padded.values[1].tolist() == [1, 2, 3, 4, 5, 6]
    assert padded.lengths.tolist() == [4, 6]
    assert padded.num_cut.tolist() == [0, 2]
    assert collate([wave(2)]).values.shape == (1, 6)


def test_lengths_are_multiples_of_the_hop_if_wanted() -> None:
    assert AudioCollator(multiple_of=160)([wave(300), wave(170)]).values.shape == (2, 320)


@pytest.mark.parametrize(
    "sample",
    [
        {"audio": {"array": np.zeros(4), "sampling_rate": 8000, "path": "a.wav"}, "label": 1},
        {"wave": torch.zeros(4), "other": torch.zeros(4, 4), "label": 1},
        {"x": torch.zeros(4), "label": 1},
    ],
)
def test_the_recording_is_found_in_a_dict(sample: dict[str, Any]) -> None:
    batch = AudioCollator()([sample, sample])
    key = next(iter(sample))
    found = batch[key]["array"] if key == "audio" else batch[key]
    assert found.lengths.tolist() == [4, 4]
    assert batch["label"].tolist() == [1, 1]


def test_which_of_two_recordings_is_asked_and_not_guessed() -> None:
    sample = {"x": torch.zeros(4), "y": torch.zeros(4)}
    with pytest.raises(DataError, match=r"Found sample\['x'\], sample\['y'\] in a dict with"):
        AudioCollator()([sample])
    assert AudioCollator(field="y")([sample])["y"].lengths.tolist() == [4]


@pytest.mark.parametrize(
    ("first", "second", "options", "where"),
    [
        ((wave(4), 16000, 0), (wave(4), 8000, 0), {}, "sample[1]"),
        ((wave(4), 0, 15999), (wave(4), 0, 15998), {"rate_field": 2}, "sample[2]"),
        ({"wave": wave(4), "sr": 16000}, {"wave": wave(4), "sr": 8000}, {}, "sample['sr']"),
        ({"audio": (wave(4), 16000)}, {"audio": (wave(4), 8000)}, {}, "sample['audio'][1]"),
        (Clip(wave(4), 16000), Clip(wave(4), 8000), {}, "sample['sample_rate']"),
        (
            {"audio": {"array": wave(4), "sampling_rate": 16000}},
            {"audio": {"array": wave(4), "sampling_rate": 44100}},
            {},
            "sample['audio']['sampling_rate']",
        ),
    ],
)
def test_mixed_sample_rates_are_refused(
    first: Any, second: Any, options: dict[str, Any], where: str
) -> None:
    AudioCollator(**options)([first, first])
    with pytest.raises(DataError) as error:
        AudioCollator(**options)([first, second])
    assert str(error.value).startswith(where)
    assert "Resample in the dataset" in str(error.value)


def test_a_rate_that_is_not_there_is_named() -> None:
    with pytest.raises(DataError, match=r"There is no sample\['rat'\]\. Did you mean 'rate'"):
        AudioCollator(rate_field="rat")([{"wave": wave(4), "rate": 8000}])


def test_labels_behind_a_waveform_are_not_taken_for_rates() -> None:
    _, labels = AudioCollator()([(wave(4), 8000), (wave(4), 8001)])
    assert labels.tolist() == [8000, 8001]


@pytest.mark.parametrize(
    ("waves", "told"),
    [
        ([wave(4), wave(4, 1)], "one with channels, one without"),
        ([wave(9, 1), wave(9, 2)], "has 1 channels in sample 0 of the batch and 2 in sample 1"),
        ([wave(2, 9)], 'channels="last" if it is [T, C]'),
        ([wave(4), (wave(4) * 32767).to(torch.int16)], "their scales differ"),
        ([[0.5], "a.wav"], "sample is list in sample 0 of the batch and str in sample 1"),
        ([wave(3, 3, 3)], "Which part of a sample is the waveform? Found none"),
    ],
)
def test_waveforms_that_do_not_go_together_are_named(waves: list[Any], told: str) -> None:
    with pytest.raises(DataError) as error:
        AudioCollator()(waves)
    assert told in str(error.value)


def test_channels_that_come_last_are_brought_to_the_front() -> None:
    clips = [np.random.default_rng(0).normal(size=(n, 2)) for n in (5, 7)]
    padded = AudioCollator(channels="last")(clips)
    assert padded.values.shape == (2, 2, 7)
    assert np.array_equal(padded.values[0, :, :5].numpy(), clips[0].T)
    assert AudioCollator(channels="first")([wave(2, 9)]).values.shape == (1, 9, 2)


def test_numbers_stay_as_they_are_recorded() -> None:
    clips = [torch.tensor([-32768, 32767], dtype=torch.int16), torch.zeros(1, dtype=torch.int16)]
    padded = AudioCollator()(clips)
    assert padded.values.dtype == torch.int16
    assert padded.values[0].tolist() == [-32768, 32767]


def test_settings_are_checked_at_once() -> None:
    with pytest.raises(ConfigError, match="channels=middle"):
        AudioCollator(channels="middle")
    with pytest.raises(ConfigError, match="num_samples=0"):
        AudioCollator(num_samples=0)
    with pytest.raises(ConfigError, match="Take max_samples=320"):
        AudioCollator(max_samples=400, multiple_of=160)
    with pytest.raises(ConfigError, match="max_samples=2 has no meaning"):
        AudioCollator(num_samples=1, max_samples=2)


def test_it_survives_pickling() -> None:
    collate = AudioCollator(field="wave", num_samples=8)
    assert pickle.loads(pickle.dumps(collate)) == collate
