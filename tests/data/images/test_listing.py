from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from chirpid.data.general.file_names import DatasetNotFoundError
from chirpid.data.images.dataset import ImageDataset
from chirpid.errors import ConfigError, DataError
from tests.data.general.pictures import spot, write_photos


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve colour images of three classes."""
    return write_photos(tmp_path_factory.mktemp("photos"))


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


def test_links_to_folders_are_followed_but_not_in_a_ring(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "owl").symlink_to(photos / "owl")
    (tmp_path / "auk").mkdir()
    spot(tmp_path / "auk" / "0.png", 0, 0, (4, 4))
    (tmp_path / "auk" / "ring").symlink_to(tmp_path)
    found = ImageDataset(tmp_path)
    assert len(found) == 5
    assert found.classes == ("auk", "owl")
