"""Memory is used again, but what somebody still holds is never written to."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torch.utils.data import default_collate as collate

from chirpid.data.wrap.buffers import PreallocatedBuffer
from chirpid.data.wrap.vectorized import VectorizedDataset
from chirpid.errors import ConfigError, DataError
from tests.data.wrap.alike import same
from tests.data.wrap.sets import Fixed, Varied


def test_batches_are_those_of_the_default_collation() -> None:
    samples = [Fixed().make(index) for index in range(5)]
    buffer = PreallocatedBuffer(samples[0], batch_size=3)
    for part in (samples[:3], samples[1:4], samples[3:], samples):
        assert same(buffer.collate(part), collate(part))
    loader = DataLoader(Fixed(10), batch_size=3, collate_fn=buffer.collate)
    for got, wanted in zip(loader, DataLoader(Fixed(10), batch_size=3), strict=True):
        assert same(got, wanted)


def test_memory_is_used_again_when_nobody_holds_it() -> None:
    buffer = PreallocatedBuffer(torch.zeros(4), batch_size=2)
    places = {buffer.take().tensors[0].data_ptr() for _ in range(10)}
    assert len(places) == 2
    assert buffer.nbytes == 2 * 2 * 4 * 4
    assert buffer.num_replaced == 0


HOLDS = {
    "columns": lambda batch: batch,
    "tree": lambda batch: batch.tree(),
    "view": lambda batch: batch.tree()[:1],
    "array": lambda batch: batch.tree().numpy(),
    "part": lambda batch: batch[1:],
    "lent": lambda batch: batch.lend(),
    "one number": lambda batch: batch.tree()[0, 0],
}


@pytest.mark.parametrize("hold", HOLDS)
def test_what_is_held_is_left_alone(hold: str) -> None:
    buffer = PreallocatedBuffer(torch.zeros(4), batch_size=2)
    batch = next(buffer)
    batch.tensors[0].fill_(7)
    held: Any = HOLDS[hold](batch)
    del batch
    for _ in range(5):
        next(buffer).tensors[0].fill_(0)
    assert buffer.num_replaced == 1
    held = held.tensors[0] if hasattr(held, "tensors") else held
    assert (held == 7).all()


@given(held=st.lists(st.integers(0, 4), max_size=30), num_slots=st.integers(1, 3))
def test_whoever_holds_batches_for_any_time_sees_them_unchanged(
    held: list[int], num_slots: int
) -> None:
    buffer = PreallocatedBuffer(torch.zeros(1), batch_size=1, num_slots=num_slots)
    holding: list[tuple[int, int, Any]] = []
    for turn, turns in enumerate(held):
        batch = buffer.collate([torch.tensor([float(turn)])])
        holding = [entry for entry in holding if entry[0] > turn]
        holding.append((turn + turns, turn, batch))
        del batch
        assert all(value.item() == written for _, written, value in holding)


def test_it_serves_columns_in_memory() -> None:
    dataset = VectorizedDataset({"x": torch.arange(10.0), "y": torch.arange(10)})
    buffer = PreallocatedBuffer(dataset.layout, batch_size=4)
    for ids in (np.arange(4), np.arange(4, 8), np.arange(8, 10)):
        batch = buffer.take(len(ids))
        dataset.read_into(ids, batch)
        assert same(batch.tree(), collate([dataset[i] for i in ids]))


def test_worker_processes_can_collate_with_it() -> None:
    buffer = PreallocatedBuffer(Fixed().make(0), batch_size=3)
    loader = DataLoader(
        Fixed(20), batch_size=3, collate_fn=buffer.collate, num_workers=1,
        multiprocessing_context="fork",
    )  # fmt: skip
    assert same(list(loader), list(DataLoader(Fixed(20), batch_size=3)))
    again = pickle.loads(pickle.dumps(buffer))
    assert same(again.collate([Fixed().make(3)]), collate([Fixed().make(3)]))


def test_what_it_cannot_hold_is_refused() -> None:
    with pytest.raises(DataError, match=r"text is str, set is set"):
        PreallocatedBuffer(Varied().make(1), batch_size=2)
    with pytest.raises(ConfigError, match="num_slots=0 is below 1"):
        PreallocatedBuffer(torch.zeros(1), batch_size=2, num_slots=0)
    buffer = PreallocatedBuffer(torch.zeros(1), batch_size=2)
    with pytest.raises(DataError, match=r"Sample 1 .* it is float32 \[2\], not float32 \[1\]"):
        buffer.collate([torch.zeros(1), torch.zeros(2)])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_pinning_without_a_gpu_is_said_and_left_out() -> None:
    said: list[str] = []
    buffer = PreallocatedBuffer(torch.zeros(1), batch_size=2, pin_memory=True, say=said.append)
    assert said == ["pin_memory true -> false: there is no GPU to copy to"]
    assert not buffer.take().tensors[0].is_pinned()
