"""Peers do the whole work: every row once, the right values, another order in another pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from chirpid.bench.peers import PEERS, Peer, installed, peer_cases, resume_cases
from chirpid.bench.peers_ram import StatefulResume
from chirpid.bench.timing import Case

# Their warnings are theirs, and say nothing of us.
pytestmark = pytest.mark.filterwarnings("ignore")
NUM, BATCH = 100, 8
SHAPES = {"cached-f16": (torch.float16, (4, 9)), "floats-784": (torch.float32, (7,))}


def rows_of(work: str) -> Tensor:
    """Rows that tell their number: every value of row i is i / 8."""
    dtype, shape = SHAPES[work]
    return (torch.arange(NUM) / 8).reshape(-1, *[1] * len(shape)).expand(-1, *shape).to(dtype)


@pytest.fixture
def cases(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[list[Case]]:
    peer, work, workers = request.param
    if not peer.is_installed:
        pytest.skip(f"{peer.distribution} is not installed")
    found = peer_cases(rows_of(work).contiguous(), tmp_path, BATCH, work=work, names=[peer.name],
                       workers=[workers])  # fmt: skip
    yield found
    for case in found:
        case.close()


def numbers_of(case: Case, shape: tuple[int, ...], seed: int) -> list[int]:
    seen: list[int] = []
    for batch in case.run(seed):
        assert isinstance(batch, Tensor)
        assert batch.dtype == torch.float32
        assert batch.shape[1:] == shape
        flat = batch.reshape(len(batch), -1)
        assert (flat == flat[:, :1]).all()
        seen += (flat[:, 0] * 8).long().tolist()
    return seen


ALL = [(peer, work, workers) for peer in PEERS for work in SHAPES for workers in peer.workers
       if work == "cached-f16" or workers == 0]  # fmt: skip


@pytest.mark.parametrize(
    "cases", ALL, indirect=True, ids=lambda p: f"{p[0].name}-{p[1]}-{p[2]}".replace(" ", "-")
)
def test_a_peer_delivers_every_row_shuffled(cases: list[Case]) -> None:
    (case,) = cases
    orders = [numbers_of(case, SHAPES[case.work][1], seed) for seed in (0, 1)]
    for order in orders:
        assert sorted(order) == list(range(NUM))
        # A shuffle, not a stream in order: neighbours of the store are seldom neighbours here.
        assert np.mean(np.abs(np.diff(order)) == 1) < 0.2
    assert orders[0] != orders[1]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_resumed_stateful_loader_gives_the_batch_that_was_due(workers: int) -> None:
    pytest.importorskip("torchdata")
    resume = StatefulResume(rows_of("cached-f16"), BATCH, workers)
    for seed in (0, 1):
        (batch,) = resume.run(seed)
        assert torch.equal(batch, resume.expected)  # type: ignore[arg-type]
    resume.close()


def test_what_is_not_installed_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Peer("Gone", "no_such_module_here", "no-such-module", PEERS[0].open)
    monkeypatch.setattr("chirpid.bench.peers.PEERS", (gone,))
    assert installed() == []
    assert peer_cases(rows_of("floats-784"), tmp_path, BATCH) == []
    assert resume_cases(rows_of("floats-784"), BATCH) == []
