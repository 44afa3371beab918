"""What only a GPU can prove: batches there, page-locked memory, and fences."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch

from chirpid.data.datasets import TensorDataset
from chirpid.data.kept import RowSpec
from chirpid.data.order import batches_of
from chirpid.loading.backends.device import DeviceBackend
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.processes import ProcessesBackend
from chirpid.loading.backends.shared import SharedRing
from chirpid.loading.backends.threads import ThreadsBackend
from chirpid.types import Keep, Mode, StartMethod, StoreDtype

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

NUM, NUMBERS = 96, 50_000
KINDS = [
    RowSpec(Keep.spectrogram, StoreDtype.uint8, (NUMBERS,), low=-11.0, high=3.5),
    RowSpec(Keep.waveform, StoreDtype.int16, (NUMBERS,)),
    RowSpec(Keep.spectrogram, StoreDtype.float16, (NUMBERS,)),
    RowSpec(Keep.spectrogram, StoreDtype.float32, (NUMBERS,)),
]
GPU = torch.device("cuda")


def dataset_of(spec: RowSpec) -> TensorDataset:
    drawn = torch.randint(0, 256, (NUM, NUMBERS), generator=torch.Generator().manual_seed(1))
    return TensorDataset(spec, drawn.to(spec.torch_dtype).share_memory_(), Mode.eager)


def backend_of(name: str, dataset: TensorDataset):
    if name == "inline":
        return InlineBackend(dataset, pin_memory=True)
    if name == "threads":
        return ThreadsBackend(dataset, num_workers=2, prefetch=2, pin_memory=True)
    return ProcessesBackend(
        dataset, num_workers=2, prefetch=2, pin_memory=True, start_method=StartMethod.forkserver,
        say=_must_not_be_said,
    )  # fmt: skip


def _must_not_be_said(line: str) -> None:
    raise AssertionError(line)


@pytest.mark.parametrize("spec", KINDS, ids=lambda spec: spec.dtype.value)
def test_the_device_makes_the_bits_of_the_cpu(spec: RowSpec) -> None:
    dataset = dataset_of(spec)
    batches = batches_of(np.random.default_rng(2).permutation(NUM), 7)
    backend = DeviceBackend(dataset, GPU)
    for batch, ids in zip(backend.run(batches), batches, strict=True):
        assert batch.inputs.device.type == "cuda"
        assert torch.equal(batch.inputs.cpu(), dataset.fetch(ids)[0])
    with pytest.raises(IndexError):
        next(backend.run([np.array([NUM])]))
    backend.close()


def test_the_device_backend_never_waits_for_the_device() -> None:
    backend = DeviceBackend(dataset_of(KINDS[2]), GPU)
    batches = batches_of(np.arange(NUM), 8)
    list(backend.run(batches))  # memory is taken the first time
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        assert len(list(backend.run(batches))) == len(batches)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("name", ["inline", "threads", "processes"])
def test_copies_queued_behind_long_work_have_the_rows_of_their_batch(name: str) -> None:
    """The device is kept busy, so that each copy begins long after its batch was left."""
    dataset = dataset_of(KINDS[3])
    backend = backend_of(name, dataset)
    try:
        for _ in range(3):
            batches = batches_of(np.random.default_rng(3).permutation(NUM), 4)
            copies = []
            for batch in backend.run(batches):
                assert batch.inputs.is_pinned(), "else the copy waits, and nothing is proved"
                torch.cuda._sleep(20_000_000)  # cycles: about 10 ms
                copies.append(batch.inputs.to(GPU, non_blocking=True))
            for copy, ids in zip(copies, batches, strict=True):
                assert torch.equal(copy.cpu(), dataset.fetch(ids)[0])
    finally:
        backend.close()


def test_a_shared_ring_is_page_locked_however_it_grows() -> None:
    said: list[str] = []
    ring = SharedRing(KINDS[-1], num_slots=3, pin_memory=True, say=said.append)
    for batch_size in (2, 8, 32):
        ring.reserve(batch_size)
        assert all(ring.slot(slot).is_pinned() for slot in range(3))
    before = len(os.listdir("/proc/self/fd"))
    for batch_size in range(33, 43):
        ring.reserve(batch_size)
    assert len(os.listdir("/proc/self/fd")) == before
    ring.close()
    assert not said
