"""Columns in memory deliver what torch's own datasets and collation would."""

from __future__ import annotations

import pickle
import threading
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset
from torch.utils.data import default_collate as collate

from chirpid.data.general.columns import Columns
from chirpid.data.general.protocols import BatchReader, MapDataset
from chirpid.data.wrap.vectorized import VectorizedDataset
from chirpid.errors import BudgetError, ConfigError, DataError
from tests.data.wrap.alike import same
from tests.data.wrap.sets import Draws


class Pair(NamedTuple):
    left: Any
    right: Any


STRUCTURES = {
    "tensor": lambda x, y: x,
    "tuple": lambda x, y: (x, y),
    "list": lambda x, y: [x, y],
    "dict": lambda x, y: {"x": x, "y": y},
    "named tuple": Pair,
    "nested": lambda x, y: {"in": (x, [x, y]), "out": Pair(y, x)},
    "set of torch": TensorDataset,
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_samples_and_batches_are_those_of_the_default_loader(kind: str) -> None:
    x, y = torch.randn(10, 3), torch.arange(10)
    dataset = VectorizedDataset(STRUCTURES[kind](x, y))
    samples = [STRUCTURES[kind](x[i : i + 1], y[i : i + 1]) for i in range(10)]
    if kind == "set of torch":
        samples = [sample[:] for sample in samples]
    expected = [VectorizedDataset(sample)[0] for sample in samples]
    assert len(dataset) == 10
    assert same([dataset[i] for i in range(10)], expected)
    assert same(dataset[-1], expected[9])
    assert same(dataset.__getitems__([3, -1, 3]), [expected[3], expected[9], expected[3]])
    batch, stages = dataset.fetch(np.array([3, 1]))
    assert same(batch.tree(), collate([expected[3], expected[1]]))
    assert stages["num_cache_hits"] == 2
    for got, wanted in zip(
        DataLoader(dataset, batch_size=4), DataLoader(expected, batch_size=4), strict=True
    ):
        assert same(got, wanted)


def test_set_of_torch_gives_the_samples_that_it_gave() -> None:
    plain = TensorDataset(torch.randn(5, 2), torch.arange(5))
    dataset = VectorizedDataset(plain)
    assert all(same(dataset[i], plain[i]) for i in range(5))
    assert same(dataset[1:3], plain[1:3])


def test_loader_of_torch_gets_whole_batches_by_a_sampler_of_batches() -> None:
    dataset = VectorizedDataset({"x": torch.randn(10, 3), "y": list(range(10))})
    sampler = BatchSampler(SequentialSampler(dataset), 4, drop_last=False)
    whole = DataLoader(dataset, batch_size=None, sampler=sampler)
    assert same(list(whole), list(DataLoader(dataset, batch_size=4)))


def test_slices_share_the_memory_of_the_columns() -> None:
    x = torch.zeros(10, 3)
    dataset = VectorizedDataset((x, np.zeros(10)))
    view = dataset[4:8]
    view[0][1] = 7.0
    x[5, 0] = 8.0
    assert dataset[5][0].tolist() == [8.0, 7.0, 7.0]
    assert view[0][1].tolist() == [8.0, 7.0, 7.0]
    assert view[1].untyped_storage().data_ptr() == dataset.columns.tensors[1].data_ptr()


@given(st.slices(10))
def test_any_slice_holds_the_rows_that_a_list_would(rows: slice) -> None:
    x = torch.arange(10)
    assert VectorizedDataset(x)[rows].tolist() == list(range(10))[rows]


def test_batches_do_not_share_memory_with_the_columns() -> None:
    dataset = VectorizedDataset(torch.zeros(10, 3))
    dataset[[1, 2]].fill_(1.0)
    dataset.__getitems__([1])[0].fill_(1.0)
    assert not dataset.columns.tensors[0].any()


def test_read_only_columns_are_neither_copied_nor_written_to(tmp_path: Any) -> None:
    np.save(tmp_path / "rows.npy", np.arange(12.0).reshape(6, 2))
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    dataset = VectorizedDataset(rows)
    assert dataset.columns.tensors[0].data_ptr() == rows.ctypes.data
    dataset[1:3].fill_(9.0)  # would end the program if it were the map
    dataset[1].fill_(9.0)
    assert dataset[[1]].tolist() == [[2.0, 3.0]]


def test_frame_is_a_column_for_each_name() -> None:
    frame = pd.DataFrame({"a": [1, 2, 3], "b": [0.5, 1.5, 2.5], "c": [True, False, True]})
    dataset = VectorizedDataset(frame)
    assert same(dataset[1], {"a": torch.tensor(2), "b": torch.tensor(1.5, dtype=torch.float64),
                             "c": torch.tensor(False)})  # fmt: skip
    dataset[0:2]["a"].fill_(9)
    assert frame.a.tolist() == [1, 2, 3]


def test_numbers_backwards_and_in_other_views_become_columns() -> None:
    rows = np.arange(12.0).reshape(6, 2)
    assert VectorizedDataset(rows[::-1])[[0]].tolist() == [[10.0, 11.0]]
    assert VectorizedDataset(rows[:, 1])[[5]].tolist() == [11.0]
    assert VectorizedDataset(pd.Series([3, 4]))[[1]].tolist() == [4]
    assert VectorizedDataset(Columns(VectorizedDataset(rows).layout.skeleton,
                                     [torch.ones(2)]))[1] == 1.0  # fmt: skip


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"x": torch.zeros(3), "who": ["a", "b", "c"]}, r"who\[0\] is str"),
        ({"x": torch.zeros(3), "y": np.array(["a", "b"])}, "y is <U1"),
        (pd.DataFrame({"n": [1], "text": ["a"]}), "text is "),
        ((torch.zeros(3), torch.tensor(1.0)), r"\[1\] is a single number"),
        (torch.zeros(3, device="meta"), "data is on meta"),
        (torch.eye(3).to_sparse(), "data is torch.sparse_coo"),
        ([], "are none"),
        ({"x": torch.zeros(3), "y": torch.zeros(4)}, "x has 3, y has 4"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), r"twice: \['a'\]"),
        ({f"c{i}": "text" for i in range(7)}, "and 2 more"),
    ],
    ids=str,
)  # fmt: skip
def test_what_is_no_table_of_numbers_is_refused_by_name(data: Any, told: str) -> None:
    with pytest.raises(DataError, match=told):
        VectorizedDataset(data)


def test_dataset_is_the_same_after_a_trip_through_pickle() -> None:
    dataset = VectorizedDataset({"x": torch.randn(5, 2), "y": (torch.arange(5),)})
    again = pickle.loads(pickle.dumps(dataset))
    assert same(again[[3, 1]], dataset[[3, 1]])
    assert again.layout == dataset.layout
    assert isinstance(dataset, BatchReader)
    assert isinstance(dataset, MapDataset)


class Squares:
    """Samples that are made one by one."""

    thread_safe = False

    def __init__(self, num: int = 600, odd: int | None = None) -> None:
        self.num, self.odd, self.threads = num, odd, set[int]()

    def __len__(self) -> int:
        return self.num

    def __getitem__(self, index: int) -> Any:
        self.threads.add(threading.get_ident())
        value = np.full(2 if index != self.odd else 3, index**2, dtype=np.float32)
        return {"x": value, "y": (index, float(index), torch.tensor([index]))}


@pytest.mark.parametrize("num_threads", [None, 3])
def test_columns_are_filled_from_any_dataset(num_threads: int | None) -> None:
    plain = Squares()
    dataset = VectorizedDataset.of(plain, num_threads=num_threads)
    assert same(dataset[[599, 5]], collate([plain[599], plain[5]]))
    assert type(dataset[0]["y"]) is tuple
    alone = plain.threads == {threading.get_ident()}
    assert alone is (num_threads is None)
    assert same(VectorizedDataset.of(dataset)[[599, 5]], dataset[[599, 5]])


def test_sample_unlike_the_others_is_named() -> None:
    told = r"Sample 17 is not like the others: x is float32 \[3\], not float32 \[2\]"
    with pytest.raises(DataError, match=told):
        VectorizedDataset.of(Squares(30, odd=17))
    with pytest.raises(DataError, match=r"Sample 1 .* another structure"):
        VectorizedDataset.of([{"x": 1}, {"y": 1}])
    with pytest.raises(DataError, match=r"Sample 0 .*: \[1\] is str"):
        VectorizedDataset.of([(1, "a")])
    with pytest.raises(DataError, match="no samples"):
        VectorizedDataset.of([])


def test_random_samples_become_columns_only_if_that_is_wanted() -> None:
    with pytest.raises(ConfigError, match=r"Draws draws random numbers from torch.* freeze=True"):
        VectorizedDataset.of(Draws("torch"))
    columns = VectorizedDataset.of(Draws("torch"), freeze=True)
    assert same(columns[3], columns[3])


def test_columns_over_the_bound_are_refused_before_they_are_made() -> None:
    plain = Squares(10**9)
    with pytest.raises(BudgetError, match=r"take 29\.8 GiB, max_memory_usage=1 GiB allows 1\.0"):
        VectorizedDataset.of(plain, max_memory_usage="1 GiB")
