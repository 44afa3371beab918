"""Work is done once each, told as it goes, and stops at the first error."""

from __future__ import annotations

import threading

import pytest
import torch

from chirpid.storage.parallel import for_each


@pytest.mark.parametrize("num_threads", [0, 1, 3])
def test_each_item_is_worked_on_once_and_progress_reaches_the_end(num_threads: int) -> None:
    done: list[int] = []
    told: list[tuple[int, int]] = []
    for_each(done.append, range(50), num_threads=num_threads,
             progress=lambda k, n: told.append((k, n)))  # fmt: skip
    assert sorted(done) == list(range(50))
    assert told == [(k, 50) for k in range(51)]


def test_the_first_error_stops_the_rest_and_leaves_no_thread() -> None:
    done: list[int] = []

    def work(item: int) -> None:
        if item == 5:
            raise KeyError(item)
        done.append(item)

    with pytest.raises(KeyError):
        for_each(work, range(20_000), num_threads=2)
    assert len(done) < 20_000 - 1
    assert not [t for t in threading.enumerate() if t.name.startswith("chirpid-build")]


def test_workers_use_one_thread_each_and_the_caller_keeps_its_own() -> None:
    before, seen = torch.get_num_threads(), set()
    torch.set_num_threads(2)
    try:
        for_each(lambda _: seen.add(torch.get_num_threads()), range(8), num_threads=3)
        assert seen == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_nothing_to_do_is_done() -> None:
    for_each(lambda _: None, [], num_threads=2)
