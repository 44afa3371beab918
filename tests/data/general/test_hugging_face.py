"""Datasets of Hugging Face: the batches that torch's DataLoader makes of them, without samples."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch.utils.data import DataLoader, Subset

datasets = pytest.importorskip("datasets")

from chirpid.data.general.adapt import adapt  # noqa: E402
from chirpid.data.general.hugging_face import (  # noqa: E402
    HuggingFaceReader,
    is_shuffled_stream,
    reader_of,
)
from chirpid.data.general.trees import leaves_of, skeleton_of  # noqa: E402
from chirpid.errors import DataError  # noqa: E402
from chirpid.loading.universal.easy import make_loader  # noqa: E402
from chirpid.loading.universal.loader import UniversalLoader  # noqa: E402

NUM = 11
FORMATS = (None, "numpy", "torch")


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def numbers() -> Any:
    """A dataset of numbers of every kind, in fields of fixed shape."""
    rng = np.random.default_rng(0)
    value = datasets.Value
    features = datasets.Features(
        {
            "wave": datasets.List(value("float32"), length=4),
            "label": datasets.ClassLabel(names=["robin", "wren"]),
            "image": datasets.Array2D((2, 3), "float64"),
            "seen": value("bool"),
            "box": datasets.List(value("int32")),
            "byte": value("uint8"),
            "half": value("float16"),
        }
    )
    columns = {
        "wave": rng.normal(size=(NUM, 4)).tolist(),
        "label": rng.integers(0, 2, NUM).tolist(),
        "image": rng.normal(size=(NUM, 2, 3)).tolist(),
        "seen": (rng.random(NUM) > 0.5).tolist(),
        "box": rng.integers(-9, 9, (NUM, 2)).tolist(),
        "byte": rng.integers(0, 256, NUM).tolist(),
        "half": rng.normal(size=NUM).astype(np.float16).tolist(),
    }
    return datasets.Dataset.from_dict(columns, features=features)


def check_same(ours: Any, theirs: Any) -> None:
    assert skeleton_of(ours) == skeleton_of(theirs)
    for mine, other in zip(leaves_of(ours), leaves_of(theirs), strict=True):
        if isinstance(other, torch.Tensor):
            assert mine.dtype == other.dtype
            assert torch.equal(mine, other)
        else:
            assert mine == other


def check_same_batches(dataset: Any) -> UniversalLoader:
    loader = make_loader(dataset, 4, shuffle=False, backend="inline")
    for ours, theirs in zip(loader, DataLoader(dataset, 4), strict=True):
        check_same(ours, theirs)
    assert isinstance(loader, UniversalLoader)
    return loader


@pytest.mark.parametrize("form", FORMATS)
def test_batches_of_numbers_are_read_where_they_lie(form: str | None, tmp_path: Path) -> None:
    memory = numbers()
    memory.save_to_disk(tmp_path, max_shard_size=200)
    disk = datasets.load_from_disk(tmp_path)
    assert disk.data.column("wave").num_chunks > 2
    for dataset in (
        memory,
        disk,
        disk.shuffle(seed=3),
        disk.select([7, 2, 2, 10]),
        memory.select(range(3, 9)),
        datasets.concatenate_datasets([memory, disk]),
    ):
        loader = check_same_batches(dataset.with_format(form))
        assert isinstance(loader.dataset, HuggingFaceReader)


def test_columns_of_a_format_are_the_ones_that_come() -> None:
    check_same_batches(numbers().with_format("torch", columns=["wave", "label"]))
    check_same_batches(numbers().with_format("torch", columns=["wave"], output_all_columns=True))
    check_same_batches(numbers().with_format("torch", dtype=torch.float16))


@pytest.mark.parametrize(
    "columns",
    [
        {"label": [1, 2, 3], "text": ["a", "b", "c"]},
        {"label": [1, 2, 3], "at": [[1], [2], [3]], "what": [{"x": 1}, {"x": 2}, {"x": 3}]},
        {"big": [1, 2, 2**63 - 1]},
    ],
    ids=["texts", "structs", "large"],
)
@pytest.mark.parametrize("form", FORMATS)
def test_what_is_no_plain_number_comes_as_from_torch(
    columns: dict[str, Any], form: str | None
) -> None:
    check_same_batches(datasets.Dataset.from_dict(columns).with_format(form))


@pytest.mark.parametrize(
    "columns", [{"x": [[1], [2, 3]]}, {"x": [1, None]}, {"x": [[1.0, None], [2.0, 3.0]]}], ids=str
)
def test_rows_of_unlike_length_and_gaps_are_left_to_the_dataset(columns: dict[str, Any]) -> None:
    assert reader_of(datasets.Dataset.from_dict(columns).with_format("torch")) is None


def test_samples_that_are_made_one_by_one_have_the_types_of_batches() -> None:
    value = datasets.Value
    features = datasets.Features({"n": value("int16"), "x": datasets.List(value("int32"))})
    columns = {"n": list(range(50)), "x": [[1, 2]] * 33 + [[1, 2, 3]] + [[1, 2]] * 16}
    dataset = datasets.Dataset.from_dict(columns, features=features).with_format("numpy")
    assert reader_of(dataset) is None
    ours, theirs = make_loader(dataset, 4, shuffle=False, backend="inline"), DataLoader(dataset, 4)
    for _, mine, other in zip(range(8), ours, theirs, strict=False):
        check_same(mine, other)


def test_numbers_beyond_int64_are_left_to_the_dataset() -> None:
    large = pa.table({"x": pa.array([1, 2**63], pa.uint64())})
    assert reader_of(datasets.Dataset(large)) is None


def test_not_a_number_is_a_number() -> None:
    dataset = datasets.Dataset.from_dict({"x": [[1.0, float("nan")]] * 3}).with_format("torch")
    assert reader_of(dataset) is not None


def test_a_transform_is_asked_for_each_sample() -> None:
    def doubled(batch: dict[str, Any]) -> dict[str, Any]:
        return {"twice": [2 * torch.tensor(value) for value in batch["x"]]}

    dataset = datasets.Dataset.from_dict({"x": [1, 2, 3]}).with_transform(doubled)
    assert reader_of(dataset) is None
    check_same_batches(dataset)


def test_threads_read_the_same() -> None:
    dataset = numbers().with_format("torch")
    loader = make_loader(dataset, 4, shuffle=False, backend="threads", num_workers=2)
    with loader:
        for ours, theirs in zip(loader, DataLoader(dataset, 4), strict=True):
            check_same(ours, theirs)


def test_a_reader_is_sent_to_other_processes_by_its_dataset(tmp_path: Path) -> None:
    numbers().save_to_disk(tmp_path)
    reader = reader_of(datasets.load_from_disk(tmp_path).shuffle(seed=1).with_format("torch"))
    assert reader is not None
    again = pickle.loads(pickle.dumps(reader))
    ids = np.array([3, 0, 10])
    first, second = reader.layout.empty(3), again.layout.empty(3)
    reader.read_into(ids, first)
    again.read_into(ids, second)
    check_same(second.tree(), first.tree())
    assert again.fingerprint() == reader.fingerprint()


def test_an_id_of_no_sample_is_refused() -> None:
    reader = reader_of(numbers())
    assert reader is not None
    for bad in (-1, NUM):
        with pytest.raises(IndexError, match=str(bad)):
            reader.read_into(np.array([bad]), reader.layout.empty(1))


def test_a_subset_of_torch_is_a_part() -> None:
    check_same_batches(Subset(numbers().with_format("torch"), [3, 1, 8]))


def test_no_samples_and_dicts_of_datasets_are_refused() -> None:
    with pytest.raises(DataError, match="no samples"):
        adapt(datasets.Dataset.from_dict({"x": []}))
    with pytest.raises(DataError, match="holds datasets \\(train, test\\)"):
        adapt(datasets.DatasetDict({"train": numbers(), "test": numbers()}))


def stream(num: int = 20) -> Any:
    return datasets.Dataset.from_dict({"x": list(range(num))}).to_iterable_dataset(num_shards=4)


def test_a_stream_gives_the_batches_of_torch_and_goes_on_where_it_was() -> None:
    loader = make_loader(stream().with_format("torch"), 3, shuffle=False)
    theirs = list(DataLoader(stream().with_format("torch"), 3))
    for ours, other in zip(loader, theirs, strict=True):
        check_same(ours, other)
    shuffled = [batch["x"].tolist() for batch in make_loader(stream(), 3, seed=5, window=9)]
    assert sorted(itertools.chain(*shuffled)) == list(range(20))
    for num_done in range(len(shuffled)):
        first = make_loader(stream(), 3, seed=5, window=9)
        batches = iter(first)
        for _ in range(num_done):
            next(batches)
        second = make_loader(stream(), 3, seed=5, window=9)
        second.load_state_dict(pickle.loads(pickle.dumps(first.state_dict())))
        assert [batch["x"].tolist() for batch in second] == shuffled[num_done:]


def test_it_is_seen_whether_a_stream_shuffles_itself() -> None:
    assert not is_shuffled_stream(stream())
    assert not is_shuffled_stream(stream().map(dict))
    assert is_shuffled_stream(stream().shuffle(seed=1, buffer_size=5))
    assert is_shuffled_stream(stream().shuffle(seed=1, buffer_size=5).map(dict).skip(2))
