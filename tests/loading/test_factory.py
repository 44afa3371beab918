"""From a plan to a loader: what cannot be had is replaced, in one line."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
import torch

from chirpid.data.datasets import TensorDataset
from chirpid.data.kept import RowSpec
from chirpid.data.order import batches_of
from chirpid.loading import factory
from chirpid.loading.changes import Shape, shape_of
from chirpid.loading.factory import make_loader
from chirpid.loading.hardware import GIB, Machine
from chirpid.loading.plan import Decision, LoaderPlan, Profile, Traits, Wish, make_plan
from chirpid.types import Backend, Keep, Mode, StartMethod, StoreDtype
from tests.loading.test_backends import Rows

CPU = torch.device("cpu")
SPEC = RowSpec(Keep.waveform, StoreDtype.int16, (8,))


def tensor_dataset() -> TensorDataset:
    rows = torch.arange(30, dtype=torch.int16)[:, None].repeat(1, 8) * 100
    return TensorDataset(SPEC, rows, Mode.eager)


def plan_of(backend: Backend, **wish: object) -> LoaderPlan:
    made = make_plan(
        machine=Machine(num_cores=4, ram_bytes=8 * GIB, free_bytes=8 * GIB),
        profile=Profile(),
        wish=Wish(backend=Backend.threads, num_workers=2, **wish),
        traits=Traits(Mode.eager, 30, 1000, 1000),
        budget_bytes=GIB,
    )
    return replace(made, backend=Decision(backend, "override", "a test"))


@pytest.mark.parametrize("backend", [b for b in Backend if b is not Backend.auto])
def test_every_backend_of_a_plan_delivers_the_rows(backend: Backend) -> None:
    plan = plan_of(backend)
    method = Decision(StartMethod.fork, "override", "quick")
    loader = make_loader(tensor_dataset(), replace(plan, start_method=method), device=CPU)
    assert loader.name is backend
    ids = batches_of(np.arange(30)[::-1], 7)
    rows = torch.cat([batch.inputs.clone() for batch in loader.run(ids)])
    assert torch.equal(rows[:, 0], torch.arange(30).flip(0) * 100 * torch.tensor(1 / 32767))
    loader.close()


def test_a_device_without_the_set_falls_back_and_says_so() -> None:
    said: list[str] = []
    loader = make_loader(Rows(), plan_of(Backend.device), device=CPU, say=said.append)
    assert loader.name is Backend.inline
    assert said == ["backend device -> inline: mode=lazy does not hold the set in one piece"]
    loader.close()


def test_a_set_that_does_not_fit_on_the_device_stays_in_ram(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(dataset: TensorDataset, device: torch.device) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    said: list[str] = []
    monkeypatch.setattr(factory, "DeviceBackend", full)
    loader = make_loader(tensor_dataset(), plan_of(Backend.device), device=CPU, say=said.append)
    assert loader.name is Backend.inline
    assert said == ["backend device -> inline: the set does not fit on cpu"]


def test_a_dataset_that_cannot_be_sent_to_workers_gets_threads() -> None:
    dataset = Rows()
    dataset.opened = (n for n in range(3))  # a generator cannot be pickled
    plan = plan_of(Backend.processes)
    plan = replace(plan, start_method=Decision(StartMethod.spawn, "override", "a test"))
    said: list[str] = []
    loader = make_loader(dataset, plan, device=CPU, say=said.append)
    assert loader.name is Backend.threads
    assert len(said) == 1
    assert said[0].startswith("backend processes -> threads: workers cannot start")
    assert sum(len(b) for b in loader.run(batches_of(np.arange(30), 7))) == 30
    loader.close()


def test_where_too_few_threads_can_start_none_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    start, num_threads = threading.Thread.start, torch.get_num_threads()

    def limited(thread: threading.Thread) -> None:
        if thread.name == "chirpid-load-1":
            raise RuntimeError("can't start new thread")  # as under `ulimit -u`
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    said: list[str] = []
    loader = make_loader(tensor_dataset(), plan_of(Backend.threads), device=CPU, say=said.append)
    assert loader.name is Backend.inline
    assert said == ["backend threads -> inline: can't start new thread"]
    assert not [t for t in threading.enumerate() if t.name.startswith("chirpid-load-")]
    assert torch.get_num_threads() == num_threads
    assert loader.plan is not None
    assert shape_of(loader.plan) == Shape(Backend.inline, 0, 1), "what is, not what was wanted"
    loader.change(plan_of(Backend.threads), "a test")
    assert said[2:] == ["loader: made anew: a test"]
    loader.close()


def test_ctrl_c_in_the_midst_of_a_change_leaves_a_loader_that_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(*args: object, **more: object) -> None:
        raise KeyboardInterrupt

    loader = make_loader(tensor_dataset(), plan_of(Backend.threads), device=CPU)
    monkeypatch.setattr(factory, "ThreadsBackend", interrupted)
    ids: list[int] = []
    for turn, batch in enumerate(loader.run(batches_of(np.arange(30), 7))):
        ids += batch.ids.tolist()
        if turn == 1:
            with pytest.raises(KeyboardInterrupt):
                loader.change(plan_of(Backend.threads), "a test")
    assert (ids, loader.name) == (list(range(30)), Backend.inline)
    loader.close()


def test_a_system_without_the_start_method_gets_threads() -> None:
    plan = replace(
        plan_of(Backend.processes), start_method=Decision(StartMethod.auto, "override", "a test")
    )
    said: list[str] = []
    loader = make_loader(tensor_dataset(), plan, device=CPU, say=said.append)
    assert loader.name is Backend.threads
    assert said == ["backend processes -> threads: this system has no start method auto"]
    loader.close()
