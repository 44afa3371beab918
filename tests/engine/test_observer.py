"""Who watches cannot harm a training, and Ctrl-C asks before it breaks."""

from __future__ import annotations

import os
import signal
import threading
from typing import Any

import pytest

from chirpid.engine.observer import Observers, QuietObserver, StopSignal
from chirpid.errors import StorageError


class Listener(QuietObserver):
    def __init__(self) -> None:
        self.heard: list[str] = []

    def say(self, line: str) -> None:
        self.heard.append(line)

    def epoch_done(self, fold: int, epoch: int, figures: Any) -> None:
        self.heard.append(f"epoch {epoch}")


class Fails(QuietObserver):
    def __init__(self, error: BaseException) -> None:
        self.error, self.asked = error, 0

    def epoch_done(self, fold: int, epoch: int, figures: Any) -> None:
        self.asked += 1
        raise self.error


def test_one_that_fails_is_told_once_and_left_out() -> None:
    bad, good = Fails(KeyError("no such plot")), Listener()
    both = Observers([bad, good])
    both.epoch_done(0, 0, {})
    both.epoch_done(0, 1, {})
    assert bad.asked == 1
    assert good.heard[1:] == ["epoch 0", "epoch 1"]
    assert "Fails failed" in good.heard[0]
    assert "no such plot" in good.heard[0]
    assert "test_observer.py" in good.heard[0]


@pytest.mark.parametrize("error", [StorageError("disk full"), KeyboardInterrupt()])
def test_what_is_meant_for_the_user_passes_through(error: BaseException) -> None:
    with pytest.raises(type(error)):
        Observers([Fails(error), Listener()]).epoch_done(0, 0, {})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_interrupts(number: int) -> None:
    before = signal.getsignal(number)
    with StopSignal() as stop:
        assert not stop.asked
        os.kill(os.getpid(), number)
        assert stop.asked
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As in a background job of a script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignal() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert not stop.asked
    finally:
        signal.signal(signal.SIGINT, before)


def test_outside_of_the_main_thread_signals_are_left_alone() -> None:
    before, found = signal.getsignal(signal.SIGINT), []

    def work() -> None:
        with StopSignal() as stop:
            found.append(stop.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]
    assert signal.getsignal(signal.SIGINT) is before
