"""One result: every mode, backend, worker count, prefetch and resume point gives the same bits."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chirpid.data.check import Checked
from chirpid.data.order import batches_of, epoch_order
from chirpid.data.segments import SegmentTable
from chirpid.loading.backends.device import DeviceBackend
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.processes import ProcessesBackend
from chirpid.types import Mode, Order, StartMethod
from tests.examples import examples
from tests.loading.test_backends import backend_of
from tests.workbench import KINDS, dataset_of, maker_of


@pytest.fixture(scope="module")
def datasets(made: tuple[Checked, SegmentTable], tmp_path_factory) -> dict:
    folder, segments = tmp_path_factory.mktemp("one-result"), made[1]
    return {
        (mode, keep, dtype): dataset_of(
            mode, maker_of(segments, keep=keep, dtype=dtype), folder / "cache", window_segments=14
        )
        for mode, (keep, dtype) in itertools.product(Mode, KINDS)
    }


def collect(backend, batches) -> list[tuple[list[int], torch.Tensor]]:
    return [(batch.ids.tolist(), batch.inputs.clone()) for batch in backend.run(batches)]


def same(a: list, b: list) -> bool:
    return len(a) == len(b) and all(
        ids == other_ids and torch.equal(rows, other)
        for (ids, rows), (other_ids, other) in zip(a, b, strict=True)
    )


@settings(
    max_examples=examples(30),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    kind=st.sampled_from(KINDS),
    mode=st.sampled_from(list(Mode)),
    backend=st.sampled_from(["inline", "threads", "processes"]),
    workers=st.integers(1, 3),
    prefetch=st.integers(1, 3),
    batch_size=st.integers(1, 9),
    start=st.integers(0, 5),
    seed=st.integers(0, 2**63),
    epoch=st.integers(0, 1000),
)
def test_every_path_delivers_the_same_bits(
    datasets, kind, mode, backend, workers, prefetch, batch_size, start, seed, epoch
) -> None:
    reference, dataset = datasets[(Mode.lazy, *kind)], datasets[(mode, *kind)]
    keys = reference.maker.segments.key_N
    ids = np.flatnonzero(np.arange(len(keys)) % 3 != 0)
    order = epoch_order(
        ids, keys, order=Order.windowed, seed=seed, epoch=epoch, block_segments=7,
        window_segments=14,
    )  # fmt: skip
    batches = batches_of(order, batch_size)
    expected = collect(InlineBackend(reference), batches)[start:]
    other = backend_of(backend, dataset, num_workers=workers, prefetch=prefetch)
    try:
        assert same(collect(other, batches[start:]), expected)
    finally:
        other.close()


@pytest.mark.parametrize("mode", list(Mode))
def test_worker_processes_deliver_the_same_bits_over_passes(datasets, mode) -> None:
    dataset = datasets[(mode, *KINDS[0])]
    batches = batches_of(np.arange(len(dataset)), 4)
    expected = collect(InlineBackend(dataset), batches)
    backend = backend_of("processes", dataset)
    try:
        for part in (batches, batches[3:], batches[::-1]):
            wanted = [expected[[list(b) for b in batches].index(list(ids))] for ids in part]
            assert same(collect(backend, part), wanted)
    finally:
        backend.close()


def test_processes_that_are_not_forked_deliver_the_same_bits(datasets) -> None:
    """By forkserver; tests/loading/test_processes.py has spawn."""
    method = StartMethod.forkserver
    dataset = datasets[(Mode.cached, *KINDS[0])]
    batches = batches_of(np.arange(len(dataset)), 8)
    backend = ProcessesBackend(dataset, num_workers=1, prefetch=2, start_method=method)
    try:
        assert same(collect(backend, batches), collect(InlineBackend(dataset), batches))
    finally:
        backend.close()


def test_the_device_backend_delivers_the_same_bits(datasets) -> None:
    for kind in KINDS:
        dataset = datasets[(Mode.eager, *kind)]
        batches = batches_of(np.arange(len(dataset)), 5)
        device = DeviceBackend(dataset, torch.device("cpu"))
        assert same(collect(device, batches), collect(InlineBackend(dataset), batches))


def test_a_batch_stays_valid_until_the_next_but_one(datasets) -> None:
    dataset = datasets[(Mode.eager, *KINDS[0])]
    batches = batches_of(np.arange(len(dataset)), 4)
    expected = collect(InlineBackend(dataset), batches)
    for name in ("inline", "threads"):
        backend = backend_of(name, dataset)
        before = None
        for number, batch in enumerate(backend.run(batches)):
            if before is not None:
                assert torch.equal(before.inputs, expected[number - 1][1]), name
            before = batch
        backend.close()


def test_an_abandoned_pass_does_not_disturb_the_next(datasets) -> None:
    dataset = datasets[(Mode.lazy, *KINDS[0])]
    batches = batches_of(np.arange(len(dataset)), 3)
    expected = collect(InlineBackend(dataset), batches)
    for name in ("inline", "threads", "processes"):
        backend = backend_of(name, dataset)
        try:
            for _ in range(3):
                passing = backend.run(batches)
                next(passing)
                passing.close()
            assert same(collect(backend, batches), expected), name
        finally:
            backend.close()


def test_streaming_keeps_no_more_shards_than_its_window_spans(datasets) -> None:
    dataset = datasets[(Mode.streaming, *KINDS[0])]
    keys = datasets[(Mode.lazy, *KINDS[0])].maker.segments.key_N
    dataset.window.num_opened = 0
    dataset.window._maps.clear()
    order = epoch_order(
        np.arange(len(keys)), keys, order=Order.windowed, seed=1, epoch=2, block_segments=7,
        window_segments=14,
    )  # fmt: skip
    for ids in batches_of(order, 2):
        dataset.fetch(ids)
        assert len(dataset.window) <= 3
    assert dataset.window.num_opened == -(-len(keys) // 7), "each is opened once an epoch"


def test_a_plain_torch_dataloader_gets_the_same_rows(datasets, tmp_path: Path) -> None:
    dataset = datasets[(Mode.cached, *KINDS[0])]
    loader = torch.utils.data.DataLoader(dataset, batch_size=4)
    rows = torch.cat(list(loader))
    assert torch.equal(rows, dataset.fetch(np.arange(len(dataset)))[0])


def test_cache_hits_and_misses_add_up_to_the_rows(datasets) -> None:
    ids = np.arange(len(datasets[(Mode.lazy, *KINDS[0])]))
    for mode in Mode:
        dataset = datasets[(mode, *KINDS[0])]
        if mode is Mode.streaming:
            dataset.window._maps.clear()
        stages = dataset.fetch(ids)[1]
        hits, misses = stages.get("num_cache_hits", 0), stages.get("num_cache_misses", 0)
        assert hits + misses == len(ids), mode
        assert (hits == 0) == (mode in (Mode.lazy, Mode.streaming)), mode
    again = datasets[(Mode.streaming, *KINDS[0])].fetch(ids[-3:])[1]
    assert again["num_cache_hits"] == 3
