"""What is asked for a stream is done, or a line says that it is not."""

from __future__ import annotations

import multiprocessing
import time
from typing import Any

import pytest
import torch
from torch.utils.data import get_worker_info

from chirpid.errors import ConfigError, TrainingError
from chirpid.loading.universal.easy import make_loader
from tests.anydata import KnowsItsPlace, Squares, Stream
from tests.at_once import in_child
from tests.loading.universal.test_loader import WAYS, same
from tests.loading.universal.test_streams import numbers_of


def said_of(**settings: Any) -> list[str]:
    said: list[str] = []
    make_loader(Stream(), say=said.append, **settings).close()
    return said


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"hardware": "laptop"}, "hardware='laptop' does nothing for a stream"),
        ({"loader": "aggressive"}, "loader='aggressive' does nothing for a stream"),
        ({"prefetch": 4}, "prefetch=4 does nothing for a stream"),
        ({"start_method": "fork"}, "start_method='fork' does nothing for a stream"),
        ({"timeout_s": 5}, "timeout_s=5 does nothing for a stream"),
    ],
    ids=str,
)
def test_what_does_nothing_for_a_stream_is_said_in_one_line(
    settings: dict[str, Any], line: str
) -> None:
    (said,) = said_of(**settings)
    assert said.startswith(line)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"hardware": "auto", "loader": "auto", "timeout_s": 120.0, "start_method": None},
        {"loader": "safe", "pin_memory": False, "backend": "inline", "num_workers": 0},
        {"num_workers": 1, "prefetch": 4, "start_method": "fork", "timeout_s": 5},
    ],
    ids=str,
)
def test_nothing_is_said_of_what_is_usual_or_done(settings: dict[str, Any]) -> None:
    assert said_of(**settings) == []


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"hardware": "lapptop"}, "lapptop"),
        ({"timeout_s": 0}, "timeout_s=0 is out of range"),
        ({"timeout_s": "5"}, "timeout_s='5' is out of range"),
        ({"timeout_s": float("nan")}, "timeout_s=nan is out of range"),
    ],
)
def test_a_setting_that_is_wrong_is_refused_for_a_stream_too(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        make_loader(Stream(), **settings)


def test_a_stream_that_cannot_be_sent_is_refused_with_what_to_do() -> None:
    loader = make_loader((n for n in range(4)), 2, num_workers=1, start_method="forkserver")
    with pytest.raises(ConfigError, match=r"A generator .* cannot be sent .*start_method='fork'"):
        list(loader)
    assert loader.state_dict()["batch"] == 0


class Stuck(Stream):
    """Gives nothing for a while, in a worker."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        if get_worker_info() is not None:
            time.sleep(1)
        yield from super().__iter__()


def test_a_worker_that_gives_nothing_in_time_ends_the_pass() -> None:
    loader = make_loader(Stuck(8), 4, shuffle=False, num_workers=1, timeout_s=0.1)
    with pytest.raises(TrainingError, match=r"No batch of the Stuck .* within 0\.1 s"):
        list(loader)


def test_the_first_batch_of_a_window_has_the_time_of_all_of_them() -> None:
    loader = make_loader(Stuck(8), 1, window=100, num_workers=1, timeout_s=0.1)
    assert len(list(loader)) == 8


def test_a_process_that_may_start_no_workers_reads_the_stream_itself() -> None:
    def work() -> tuple[list[int], list[str]]:
        said: list[str] = []
        loader = make_loader(Stream(9), 8, say=said.append, num_workers=1)
        return sorted(numbers_of(loader)), said

    numbers, said = in_child(work)
    assert numbers == list(range(9))
    assert said == ["num_workers 1 -> 0: this process is a worker itself, and may start none"]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("num_workers", [0, 1])
def test_page_locked_batches_without_a_gpu_are_said_to_be_none(num_workers: int) -> None:
    said: list[str] = []
    settings: dict[str, Any] = {"num_workers": num_workers, "pin_memory": True}
    found = list(make_loader(Stream(), 8, say=said.append, **settings))
    assert same(found, list(make_loader(Stream(), 8)))
    assert said == ["pin_memory true -> false: there is no GPU to copy to"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize(
    ("settings", "is_pinned"),
    [
        ({}, True),
        ({"pin_memory": True}, True),
        ({"pin_memory": False}, False),
        ({"loader": "safe"}, False),
        ({"device": "cpu"}, False),
    ],
    ids=str,
)
def test_batches_of_a_stream_are_page_locked_where_there_is_a_gpu(
    num_workers: int, settings: dict[str, Any], is_pinned: bool
) -> None:
    found = list(make_loader(Stream(), 8, num_workers=num_workers, **settings))
    assert all(leaf.is_pinned() is is_pinned for batch in found for leaf in batch)
    assert same(found, list(make_loader(Stream(), 8, pin_memory=False)))


def test_the_state_of_a_stream_that_knows_its_place_is_none_of_another() -> None:
    part = make_loader(KnowsItsPlace(), 5, window=10)
    passing = iter(part)
    for _ in range(3):
        next(passing)
    with pytest.raises(ConfigError, match="a Stream has no load_state_dict"):
        make_loader(Stream(), 5, window=10).load_state_dict(part.state_dict())


@pytest.mark.parametrize("wrong", [{"epoch": "x"}, {"epoch": -1}, {"batch": 1.5}], ids=str)
def test_a_damaged_state_of_a_stream_is_refused(wrong: dict[str, Any]) -> None:
    loader = make_loader(Stream(), 5)
    with pytest.raises(ConfigError, match="of the state is"):
        loader.load_state_dict({**loader.state_dict(), **wrong})


KINDS = {
    **{f"squares-{number}": (Squares(), way) for number, way in enumerate(WAYS)},
    "stream": (Stream(), {"shuffle": False}),
    "stream-worker": (Stream(), {"num_workers": 1, "start_method": "fork"}),
}


@pytest.mark.parametrize(("dataset", "way"), KINDS.values(), ids=KINDS)
def test_a_closed_loader_refuses_to_go_on_in_one_line(dataset: Any, way: dict[str, Any]) -> None:
    loader = make_loader(dataset, 8, say=lambda line: None, **way)
    passing = iter(loader)
    kept = next(passing)
    before = [leaf.clone() for leaf in _leaves(kept)]
    loader.close()
    for batches in (passing, iter(loader)):
        with pytest.raises(ConfigError, match=r"^This loader is closed\. [^\n]*$"):
            next(batches)
    assert same(_leaves(kept), before)
    assert loader.state_dict()["batch"] == 1
    loader.close()


def _leaves(batch: Any) -> list[Any]:
    return list(batch.values() if isinstance(batch, dict) else batch)


def test_closing_ends_the_workers_of_a_stream() -> None:
    before = set(multiprocessing.active_children())
    loader = make_loader(Stream(), 8, num_workers=1)
    passing = iter(loader)
    next(passing)
    assert set(multiprocessing.active_children()) - before
    loader.close()
    assert not set(multiprocessing.active_children()) - before


def test_a_pass_that_is_broken_off_ends_its_workers() -> None:
    before = set(multiprocessing.active_children())
    loader = make_loader(Stream(), 8, num_workers=1)
    for _ in loader:
        break
    assert not set(multiprocessing.active_children()) - before
