from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from chirpid.data.general.file_names import DatasetNotFoundError
from chirpid.data.general.image_memory import ImageMemory
from chirpid.data.general.images import ImageDataset
from chirpid.data.general.protocols import BatchReader
from chirpid.errors import ConfigError, DataError
from tests.pages import ROOT, blocks_of

H, W = 12, 20


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve colour images of three classes, in folders as deep as people make them."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(3)
    for label in ("wren", "owl", "Zaunkönig 鳥"):
        for name in ("0.png", "1.PNG", "more/2.jpg", "more/deep/3.bmp"):
            path = root / label / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (H, W, 3), np.uint8)).save(path)
    (root / "owl" / ".hidden.png").write_bytes(b"passed over")
    (root / "owl" / "._0.png").write_bytes(b"passed over")
    (root / "owl" / "notes.txt").write_text("passed over, and said")
    return root


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


def spot(path: Path, row: int, column: int, shape: tuple[int, int]) -> None:
    pixels = np.zeros(shape, dtype=np.uint8)
    pixels[row, column] = 255
    Image.fromarray(pixels).save(path)


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


def test_a_table_names_images_labels_and_groups(photos: Path, tmp_path: Path) -> None:
    rows = ["filename,label,group", "owl/0.png,o,ann", "wren/1.PNG,w,", r"owl\more\2.jpg,o,bob"]
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    found = ImageDataset(photos, table=tmp_path / "labels.csv", size=(4, 4))
    assert found.classes == ("o", "w")
    assert found.groups is not None
    assert found.group_names == ("ann", "bob", "wren/1.PNG")  # no group: one of its own
    assert found.groups.tolist() == [0, 2, 1]
    frame = pd.DataFrame({"filename": ["owl/0.png", "wren/1.PNG"], "label": [1, 0]})
    assert ImageDataset(photos, table=frame)[0][1] == 1


def test_all_that_is_wrong_with_a_table_is_named_with_its_row(photos: Path) -> None:
    frame = pd.DataFrame({
        "filename": ["owl/0.png", "OWL/0.png", "owl/0.jpg", "../secret.png", "wren/0.png"],
        "label": ["o", "o", "o", "o", None],
    })  # fmt: skip
    with pytest.raises(DataError) as caught:
        ImageDataset(photos, table=frame)
    said = str(caught.value)
    assert "4 of 5 images cannot be used" in said
    assert "owl/0.jpg: does not exist; there is '0.png' instead (row 2 of the data frame)" in said
    assert "../secret.png: lies outside of root=" in said
    assert "wren/0.png: has no label (row 4" in said
    assert "dataset.root" not in said


def test_paths_and_labels_can_be_given(photos: Path) -> None:
    paths = [photos / "owl" / "0.png", photos / "wren" / "1.PNG"]
    assert [label for _, label in ImageDataset(paths=paths, labels=np.array([3, 0]))] == [3, 0]
    named = ImageDataset(paths=paths, labels=["b", "a"], classes=["c", "b", "a"], groups=["x", "y"])
    assert [label for _, label in named] == [1, 2]
    assert named.group_names == ("x", "y")
    assert isinstance(ImageDataset(paths=paths)[0], torch.Tensor)
    with pytest.raises(DataError, match="2 paths and 1 labels"):
        ImageDataset(paths=paths, labels=[0])
    with pytest.raises(DataError, match="'b' is none of the 1 classes"):
        ImageDataset(paths=paths, labels=["b", "a"], classes=["a"])


def test_a_validation_folder_keeps_the_numbers_of_the_training(tmp_path: Path) -> None:
    for label in ("b", "c"):
        (tmp_path / label).mkdir()
        spot(tmp_path / label / "0.png", 0, 0, (4, 4))
    assert [label for _, label in ImageDataset(tmp_path, classes=["a", "b", "c"])] == [1, 2]


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


def test_where_nothing_is_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetNotFoundError, match=r"No images in .*lost: it does not exist; there"
    ):
        ImageDataset(tmp_path / "lost")
    with pytest.raises(DatasetNotFoundError, match="it holds no file"):
        ImageDataset(tmp_path)
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DatasetNotFoundError, match=r"it holds others \(1 file\), a\.txt first"):
        ImageDataset(tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r"No table in .*none"):
        ImageDataset(table=tmp_path / "none.csv")
    with pytest.raises(ConfigError, match="Give root"):
        ImageDataset()


def test_folders_named_by_numbers_are_names_in_the_order_of_their_values(tmp_path: Path) -> None:
    for label in ("2019", "9", "10"):
        (tmp_path / label).mkdir()
        spot(tmp_path / label / "0.png", 0, 0, (4, 4))
    found = ImageDataset(tmp_path)
    assert found.classes == ("9", "10", "2019")
    assert {Path(found.path(at)).parts[-2]: found[at][1] for at in range(3)} == {
        "9": 0, "10": 1, "2019": 2,
    }  # fmt: skip


def test_images_beside_class_folders_are_not_guessed_about(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    spot(tmp_path / "a" / "0.png", 0, 0, (4, 4))
    spot(tmp_path / "loose.png", 0, 0, (4, 4))
    with pytest.raises(DataError, match=r"lie in no class folder, such as loose\.png"):
        ImageDataset(tmp_path)


def test_what_was_kept_is_not_decoded_again(photos: Path) -> None:
    plain = ImageDataset(photos, size=(8, 8))
    one = 3 * 8 * 8
    found = ImageDataset(photos, size=(8, 8), cache_bytes=5 * one)
    for _ in range(3):
        for index in range(len(found)):
            assert found[index][0].equal(plain[index][0])
    memory = found.memory
    assert memory is not None
    assert memory.num_bytes == 5 * one
    assert (memory.hits, memory.misses) == (2 * 5, 12 + 2 * 7)


def test_images_of_any_size_are_kept_up_to_the_limit(photos: Path) -> None:
    found = ImageDataset(photos, cache_bytes=3 * H * W * 3 + 5, normalise=(0.5, 0.5))
    for _ in range(2):
        for index in range(len(found)):
            assert found[index][0].equal(ImageDataset(photos, normalise=(0.5, 0.5))[index][0])
    assert found.memory is not None
    assert found.memory.hits == 3


def test_threads_read_and_keep_the_same_images(photos: Path) -> None:
    plain, found = (ImageDataset(photos, size=(8, 8), cache_bytes=kept) for kept in (0, 1 << 20))
    ids = np.random.default_rng(0).integers(0, 12, 400)
    batches = np.split(ids, 50)

    def read(batch: np.ndarray) -> torch.Tensor:
        out = found.layout.empty(len(batch))
        found.read_into(batch, out)
        return out.tensors[0]

    with ThreadPoolExecutor(4) as pool:
        for batch, images in zip(batches, pool.map(read, batches), strict=True):
            assert all(map(torch.equal, images, (plain[index][0] for index in batch)))
    memory = found.memory
    assert memory is not None
    assert memory.hits + memory.misses == 400
    assert memory.num_bytes == 12 * 3 * 8 * 8


def test_forked_workers_give_what_the_caller_gives(photos: Path) -> None:
    found = ImageDataset(photos, size=(8, 8), cache_bytes=1 << 20)
    expected = torch.stack([image for image, _ in found])
    loader = DataLoader(found, batch_size=5, num_workers=2, multiprocessing_context="fork")
    assert torch.cat([images for images, _ in loader]).equal(expected)


def test_a_fork_while_a_thread_holds_the_lock_does_not_hang() -> None:
    memory = ImageMemory(2, np.dtype(np.uint8), 8)
    memory.put(0, np.full((1, 2, 2), 7, np.uint8))

    def child() -> None:
        memory.put(1, np.full((1, 2, 2), 9, np.uint8))
        kept = [memory.get(index) for index in (0, 1)]
        os._exit(0 if all(one is not None for one in kept) else 1)

    with memory._lock:
        process = multiprocessing.get_context("fork").Process(target=child)
        thread = threading.Thread(target=process.start)
        thread.start()
        thread.join()
    process.join(20)
    assert process.exitcode == 0


@pytest.mark.parametrize("mode", ["eager", "cached", "streaming"])
def test_every_mode_gives_the_same_images(photos: Path, tmp_path: Path, mode: str) -> None:
    found = ImageDataset(photos, size=(8, 8), normalise="cifar10")
    kept = found.in_mode(mode, cache_root=tmp_path)
    assert len(kept) == 12
    assert all(mine.equal(torch.as_tensor(theirs)) for at in range(12)
               for mine, theirs in zip(kept[at], found[at], strict=True))  # fmt: skip


def test_links_to_folders_are_followed_but_not_in_a_ring(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "owl").symlink_to(photos / "owl")
    (tmp_path / "auk").mkdir()
    spot(tmp_path / "auk" / "0.png", 0, 0, (4, 4))
    (tmp_path / "auk" / "ring").symlink_to(tmp_path)
    found = ImageDataset(tmp_path)
    assert len(found) == 5
    assert found.classes == ("auk", "owl")


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
