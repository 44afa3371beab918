from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from chirpid.data.general.protocols import BatchReader
from chirpid.data.images.dataset import ImageDataset
from chirpid.errors import ConfigError, DataError
from tests.data.general.pictures import H, W, spot, write_photos
from tests.pages import ROOT, blocks_of


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve colour images of three classes."""
    return write_photos(tmp_path_factory.mktemp("photos"))


def test_folders_are_classes_and_pixels_are_those_of_the_files(photos: Path) -> None:
    found = ImageDataset(photos)
    assert found.classes == ("Zaunkönig 鳥", "owl", "wren")
    assert found.labels is not None
    assert found.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert found.notes == ["Passed over as no images: 1 file, such as owl/notes.txt."]
    for index in range(len(found)):
        image, label = found[index]
        assert found.classes[label] == Path(found.path(index)).relative_to(photos).parts[0]
        with Image.open(found.path(index)) as there:
            assert (image.permute(1, 2, 0).numpy() == np.asarray(there)).all()
    assert found[-1][0].equal(found[11][0])
    with pytest.raises(IndexError, match="no image 12"):
        found[12]


@pytest.mark.parametrize("rule", [{}, {"dtype": "float32"}, {"normalise": "imagenet"},
                                  {"channels": "L", "normalise": (0.5, 0.2)}])  # fmt: skip
def test_a_batch_is_what_torch_makes_of_the_samples(photos: Path, rule: dict[str, str]) -> None:
    found = ImageDataset(photos, size=(8, 10), **rule)  # type: ignore[arg-type]
    assert isinstance(found, BatchReader)
    ids = np.array([5, 0, 11, 5])
    out = found.layout.empty(4)
    found.read_into(ids, out)
    (expected,) = DataLoader(found, batch_size=4, sampler=ids.tolist())  # type: ignore[arg-type]
    made = out.tree()
    assert type(made) is type(expected) is list
    for mine, theirs in zip(made, expected, strict=True):
        assert mine.dtype == theirs.dtype
        assert mine.equal(theirs)


def test_normalised_is_what_the_formula_says(photos: Path) -> None:
    plain = ImageDataset(photos)[0][0].double() / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = (plain - mean[:, None, None]) / std[:, None, None]
    normalised = ImageDataset(photos, normalise="imagenet")[0][0].double()
    assert (normalised - expected).abs().max() < 1e-6  # float32 rounds at 3e-7 here
    scaled = ImageDataset(photos, dtype="float32")[0][0].double()
    assert (scaled - plain).abs().max() < 1e-7


def test_without_one_size_or_with_a_transform_it_is_no_batch_reader(photos: Path) -> None:
    assert not isinstance(ImageDataset(photos), BatchReader)
    turned = ImageDataset(photos, size=(H, W), transform=torch.fliplr)
    assert not isinstance(turned, BatchReader)
    assert not turned.thread_safe
    assert turned[0][0].equal(torch.fliplr(ImageDataset(photos)[0][0]))


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 300), (60, 7), (63, 312)])
def test_a_lit_pixel_of_a_spectrogram_is_at_its_band_and_frame(
    tmp_path: Path, row: int, column: int
) -> None:
    """A row of the file is a row of the tensor: reshaped from [frame, band], it would be lost."""
    spot(tmp_path / "spec.png", row, column, (64, 313))
    found = ImageDataset(tmp_path, channels="L", size=(64, 313), resize=None)[0]
    assert found.shape == (1, 64, 313)
    assert torch.nonzero(found[0]).tolist() == [[row, column]]


def test_other_sizes_are_refused_where_nothing_may_be_resized(tmp_path: Path) -> None:
    spot(tmp_path / "good.png", 0, 0, (4, 6))
    spot(tmp_path / "turned.png", 0, 0, (6, 4))
    with pytest.raises(DataError, match=r"turned\.png: is 6 high and 4 wide, not size=\(4, 6\)"):
        ImageDataset(tmp_path, size=(4, 6), resize=None)


def test_fit_stretches_crops_or_pads(tmp_path: Path) -> None:
    halves = np.repeat([[0, 0, 255, 255, 0, 0]], 3, axis=0).astype(np.uint8)
    Image.fromarray(np.kron(halves, np.ones((10, 10), np.uint8))).save(tmp_path / "wide.png")

    def row(fit: str) -> list[int]:
        read = ImageDataset(tmp_path, channels="L", size=(6, 6), fit=fit, resize="box")
        return [int(level) for level in read[0][0, 3]]

    assert row("stretch") == [0, 0, 255, 255, 0, 0]
    assert row("crop") == [0, 255, 255, 255, 255, 0]
    padded = ImageDataset(tmp_path, channels="L", size=(6, 6), fit="pad", resize="box")[0][0]
    assert padded[[0, 5]].sum() == 0
    assert padded[2:4].sum() > 0


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"size": (0, 4)}, "size="),
        ({"size": 224}, "size="),
        ({"channels": "BGR"}, "channels='BGR' is unknown. Choose L, RGB"),
        ({"resize": "linear"}, "resize='linear' is unknown"),
        ({"fit": "squeeze"}, "fit="),
        ({"normalise": "imagnet"}, "normalise='imagnet' is unknown. Choose imagenet, cifar10"),
        ({"normalise": "imagenet", "channels": "L"}, "3 numbers for 1 channels"),
        ({"normalise": (0.5, 0)}, "above 0"),
        ({"normalise": "imagenet", "dtype": "uint8"}, "Set dtype='float32'"),
        ({"bits": 16}, "Set channels='L'"),
        ({"check": "some"}, "Choose header, full, none"),
        ({"on_bad": "ignore"}, "Choose stop or skip"),
        ({"labels": [1]}, "labels and groups belong to paths"),
    ],
)
def test_a_wrong_setting_is_one_line(photos: Path, settings: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        ImageDataset(photos, **settings)  # type: ignore[arg-type]
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_forked_workers_give_what_the_caller_gives(photos: Path) -> None:
    found = ImageDataset(photos, size=(8, 8), cache_bytes=1 << 20)
    expected = torch.stack([image for image, _ in found])
    loader = DataLoader(found, batch_size=5, num_workers=2, multiprocessing_context="fork")
    assert torch.cat([images for images, _ in loader]).equal(expected)


@pytest.mark.parametrize("mode", ["eager", "cached", "streaming"])
def test_every_mode_gives_the_same_images(photos: Path, tmp_path: Path, mode: str) -> None:
    found = ImageDataset(photos, size=(8, 8), normalise="cifar10")
    kept = found.in_mode(mode, cache_root=tmp_path)
    assert len(kept) == 12
    assert all(mine.equal(torch.as_tensor(theirs)) for at in range(12)
               for mine, theirs in zip(kept[at], found[at], strict=True))  # fmt: skip


def test_the_page_shows_what_is_said_of_bad_images(tmp_path: Path) -> None:
    (block,) = [b for b in blocks_of(ROOT / "docs" / "images-and-text.md") if b.language == "text"]
    for label in ("high", "low"):
        (tmp_path / label).mkdir()
        for number in range(4):
            spot(tmp_path / label / f"{number}.png", 0, 0, (4, 4))
    (tmp_path / "low" / "page.png").write_text("<html>404</html>")
    (tmp_path / "low" / "lost.png").write_bytes(b"")
    with pytest.raises(DataError) as caught:
        ImageDataset(tmp_path)
    assert caught.value.line() + "\n" == block.text


def test_a_pickled_copy_is_small_and_reads_the_same(photos: Path) -> None:
    found = ImageDataset(photos, size=(64, 64), cache_bytes=1 << 20)
    assert found[0][0].equal(found[0][0])
    data = pickle.dumps(found)
    assert len(data) < 6000  # none of the kept images
    assert pickle.loads(data)[3][0].equal(found[3][0])


def test_the_fingerprint_follows_files_labels_and_settings(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    spot(path, 0, 0, (4, 4))

    def mark(**settings: object) -> str:
        return ImageDataset(paths=[path], **settings).fingerprint()  # type: ignore[arg-type]

    marks = {mark(), mark(labels=[0]), mark(labels=[1]), mark(channels="L"), mark(size=(2, 2)),
             mark(normalise="imagenet")}  # fmt: skip
    assert len(marks) == 6
    before = mark()
    assert before == mark(cache_bytes=99, check="full")
    os.utime(path, ns=(1, 1))
    assert mark() != before
    with pytest.raises(ConfigError, match="no fingerprint"):
        mark(transform=torch.fliplr)
