"""Images to one float tensor, right way up."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from chirpid.data.collate import NORMALISATIONS, VisionCollator
from chirpid.errors import ConfigError, DataError
from tests.examples import examples

draw = np.random.default_rng(0)


def photo(height: int = 6, width: int = 5, channels: int = 3) -> np.ndarray[Any, Any]:
    return draw.integers(0, 256, (height, width, channels), dtype=np.uint8)


def wanted(image: np.ndarray[Any, Any]) -> torch.Tensor:
    """Return an image [H, W, C] as [C, H, W] in [0, 1], one number at a time."""
    height, width, channels = image.shape
    out = torch.empty(channels, height, width)
    for c in range(channels):
        for h in range(height):
            for w in range(width):
                out[c, h, w] = torch.tensor(int(image[h, w, c]), dtype=torch.float32) / 255
    return out


@pytest.mark.parametrize(
    "form",
    [
        lambda image: image,
        lambda image: torch.from_numpy(image),
        lambda image: image.transpose(2, 0, 1),
        lambda image: torch.from_numpy(image).permute(2, 0, 1).contiguous(),
        lambda image: Image.fromarray(image),
        lambda image: (image / 255).astype(np.float32),
        lambda image: image[:, ::-1].copy()[:, ::-1],
    ],
    ids=["hwc", "tensor-hwc", "chw", "tensor-chw", "pillow", "float", "backward"],
)
def test_every_form_of_an_image_gives_the_same_batch(form: Any) -> None:
    images = [photo() for _ in range(3)]
    batch, labels = VisionCollator()([(form(image), n) for n, image in enumerate(images)])
    assert batch.dtype == torch.float32
    assert batch.is_contiguous()
    assert torch.equal(batch, torch.stack([wanted(image) for image in images]))
    assert labels.tolist() == [0, 1, 2]


@pytest.mark.parametrize("name", sorted(NORMALISATIONS))
def test_normalising_is_that_of_torchvision_to_the_bit(name: str) -> None:
    """Its steps, one image at a time: `to(float32).div(255)`, `sub_(mean).div_(std)`."""
    images = [photo() for _ in range(4)]
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in NORMALISATIONS[name])
    by_image = [
        torch.from_numpy(i).permute(2, 0, 1).contiguous().to(torch.float32).div(255)
        .sub_(mean).div_(std)
        for i in images
    ]  # fmt: skip
    assert torch.equal(VisionCollator(normalise=name)(images), torch.stack(by_image))


def test_known_constants_are_those_of_their_sources() -> None:
    assert NORMALISATIONS == {
        "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    }


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 4]))
@settings(max_examples=examples(40), deadline=None)
def test_no_pixel_changes_its_place(height: int, width: int, channels: int) -> None:
    image = photo(height, width, channels)
    batch = VisionCollator(layout="hwc")([image, image])
    assert torch.equal(batch[1], wanted(image))
    turned = np.ascontiguousarray(image.transpose(2, 0, 1))
    assert torch.equal(VisionCollator(layout="chw")([turned])[0], wanted(image))


def test_statistics_of_your_own_centre_the_batch() -> None:
    images = [photo() for _ in range(4)]
    plain = VisionCollator()(images).double()
    mean, std = plain.mean((0, 2, 3)), plain.std((0, 2, 3), correction=0)
    batch = VisionCollator(normalise=(mean.tolist(), std.tolist()))(images)
    assert batch.mean((0, 2, 3)) == pytest.approx(torch.zeros(3), abs=1e-6)
    assert batch.std((0, 2, 3), correction=0) == pytest.approx(torch.ones(3), abs=1e-6)


def test_grey_images_have_one_channel_or_three_alike() -> None:
    grey = [photo()[..., 0] for _ in range(2)]
    assert VisionCollator()(grey).shape == (2, 1, 6, 5)
    three = VisionCollator(channels=3)([grey[0], Image.fromarray(grey[1])])
    assert torch.equal(three[:, 0], VisionCollator()(grey)[:, 0])
    assert torch.equal(three[:, 0], three[:, 2])


def test_alpha_is_dropped_only_if_three_channels_are_wanted() -> None:
    image = photo(channels=4)
    assert VisionCollator()([image]).shape == (1, 4, 6, 5)
    assert torch.equal(VisionCollator(channels=3)([image])[0], wanted(image[..., :3]))


def test_pillow_looks_colours_of_a_palette_up() -> None:
    palette = Image.fromarray(photo()).quantize(4)
    with pytest.raises(DataError, match="an image of mode P"):
        VisionCollator()([palette])
    colours = VisionCollator(channels=3)([palette])[0]
    assert torch.equal(colours, wanted(np.array(palette.convert("RGB"))))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.bool_])
def test_white_is_one_whatever_the_type(dtype: Any) -> None:
    white = np.full((6, 5, 3), True if dtype is np.bool_ else np.iinfo(dtype).max, dtype)
    assert torch.equal(VisionCollator()([white]), torch.ones(1, 3, 6, 5))


@pytest.mark.parametrize(
    ("images", "options", "told"),
    [
        ([photo(), photo(6, 7)], {}, "is 6×5 in sample 0 of the batch and 6×7 in sample 1"),
        ([photo(), photo(channels=1)], {}, "Set channels=3"),
        ([photo(3, 5)], {}, 'Set layout="chw" or layout="hwc".'),
        ([photo(6, 5, 2)], {}, 'Set layout="chw" or layout="hwc".'),
        ([photo() * 1.0], {}, "Set scale=255 if white is 255"),
        ([photo() / 255 - 0.5], {}, "images are in [0, 1]"),
        ([np.full((6, 5), np.nan)], {}, "floating point from nan to nan"),
        ([photo().astype(np.int64)], {}, "does not say where white is"),
        ([photo()[..., 0]], {"normalise": "imagenet"}, "has 1 channels, normalise='imagenet' has "
         "3. Set channels=3"),
        ([photo()], {"channels": 1}, "has 3 channels in sample 0 of the batch, and channels=1"),
        ([{"image": photo(), "img": photo()}], {}, "Found sample['image'], sample['img']"),
        ([{"image": photo()}], {"field": "imag"}, "Did you mean 'image'?"),
        ([photo()[0, 0]], {"field": ()}, "is uint8 [3] in sample 0 of the batch. An image is"),
    ],
)  # fmt: skip
def test_images_that_make_no_batch_are_named(
    images: list[Any], options: dict[str, Any], told: str
) -> None:
    with pytest.raises(DataError) as error:
        VisionCollator(**options)(images)
    assert told in str(error.value)


def test_a_scale_of_your_own_is_taken_at_its_word() -> None:
    image = photo() * 1.0
    assert torch.equal(VisionCollator(scale=255)([image])[0], wanted(photo_of(image)))
    signed = torch.randn(3, 6, 5)
    assert torch.equal(VisionCollator(scale=1)([signed])[0], signed)


def photo_of(image: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return image.astype(np.uint8)


def test_the_images_of_the_dataset_stay_as_they_are() -> None:
    image = torch.rand(3, 6, 5)
    before = image.clone()
    VisionCollator(normalise="imagenet")([image])
    VisionCollator(normalise="imagenet", scale=2)([image])
    assert torch.equal(image, before)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"normalise": "imagnet"}, "Choices: imagenet, cifar10."),
        ({"normalise": ((0.5,), (0.0,))}, "is not (mean, std)"),
        ({"normalise": ((0.5, 0.5), (1.0,))}, "is not (mean, std)"),
        ({"normalise": 0.5}, "is not (mean, std)"),
        ({"layout": "nchw"}, "Choices: auto, chw, hwc."),
        ({"channels": 2}, "channels=2 is none of 1, 3, 4"),
        ({"scale": 0}, "scale=0 must be above 0"),
    ],
)
def test_settings_are_checked_at_once(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        VisionCollator(**options)
    assert told in str(error.value)


def test_it_survives_pickling() -> None:
    collate = VisionCollator(normalise="cifar10", channels=3)
    assert pickle.loads(pickle.dumps(collate)) == collate
