"""Worker processes that meet something unusual: nothing is lost, and what is said is true."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset

from chirpid.data.general.columns import Columns, Layout, Leaf
from chirpid.errors import DataError, TrainingError
from chirpid.loading.universal.easy import make_loader
from chirpid.types import IntArray
from tests.anydata import Squares
from tests.at_once import in_child

FORKED: dict[str, Any] = {
    "backend": "processes", "num_workers": 2, "start_method": "fork", "shuffle": False,
}  # fmt: skip


def outlier(samples: list[dict[str, Any]]) -> Tensor:
    """Makes the first batch of all larger than any memory, though it takes none."""
    if samples[0]["square"] == 0:
        return torch.zeros(1).expand(2**42)
    return torch.stack([sample["x"] for sample in samples])


def test_a_batch_larger_than_the_memory_does_not_change_the_plan() -> None:
    said: list[str] = []
    with make_loader(Squares(40), 4, collate=outlier, say=said.append, **FORKED) as loader:
        assert [len(list(loader)) for _ in range(3)] == [10, 10, 10]
    assert said == []


class Deadly(Squares):
    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == 5:  # which is not looked at first
            os._exit(3)
        return super().__getitem__(index)


def test_the_samples_that_workers_die_of_have_their_own_numbers_in_any_epoch() -> None:
    with make_loader(Deadly(16), 4, say=lambda line: None, **FORKED) as loader:
        loader.set_epoch(3)
        with pytest.raises(TrainingError, match="the batch of samples 4, 5 "):
            list(loader)


class Unsendable(Squares):
    def __getstate__(self) -> Any:
        raise ValueError("ctypes objects containing pointers cannot be pickled")


def test_a_dataset_that_cannot_be_sent_is_asked_in_the_caller() -> None:
    said: list[str] = []
    way = {**FORKED, "start_method": "forkserver"}
    with make_loader(Unsendable(8), 4, say=said.append, **way) as loader:
        assert len(list(loader)) == 2
    assert "processes -> inline: workers cannot start (ctypes objects" in said[0]


def test_a_process_that_may_start_none_makes_batches_itself() -> None:
    def work() -> tuple[int, list[str]]:
        said: list[str] = []
        with make_loader(Squares(8), 4, say=said.append, **FORKED) as loader:
            return len(list(loader)), said

    num_batches, said = in_child(work)
    assert num_batches == 2
    assert "this process is a worker itself" in said[0]


class Drawing:
    """Writes batches that it draws, which nobody seeds it for."""

    layout = Layout((Leaf(torch.float64),))

    def __len__(self) -> int:
        return 64

    def read_into(self, ids: IntArray, out: Columns) -> None:
        out.tensors[0].copy_(torch.rand(len(ids), dtype=torch.float64))


def test_two_workers_do_not_draw_the_same() -> None:
    with make_loader(Drawing(), 4, **FORKED) as loader:
        drawn = torch.cat(list(loader))
    assert len(drawn.unique()) == 64


@pytest.mark.parametrize("way", [{"backend": "inline"}, FORKED], ids=["inline", "forked"])
@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float8_e5m2], ids=str)
def test_numbers_that_numpy_does_not_know_come_as_they_are(
    dtype: torch.dtype, way: dict[str, Any]
) -> None:
    rows = torch.arange(8.0)[:, None].expand(8, 3).to(dtype)
    for data in (TensorDataset(rows), [(row,) for row in rows]):
        with make_loader(data, 4, **{**way, "shuffle": False}) as loader:
            found = [batch[0] for batch in loader]
        assert found[0].dtype is dtype
        assert torch.cat([batch.float() for batch in found]).equal(rows.float())


def test_a_reader_of_batches_without_samples_is_none_for_collators() -> None:
    with pytest.raises(DataError, match="Drawing is no dataset"):
        make_loader(Drawing(), collate=outlier)
