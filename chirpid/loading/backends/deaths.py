"""A worker that dies is told where a batch is waited for, and not in the middle of a step.

torch answers the system's word of a dead child by raising an error wherever the program happens to
be. Here that answer is held back until the loader waits for its workers.
"""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

_TORCH_MODULE = "torch.utils.data._utils.signal_handling"
_Handler = Callable[[int, FrameType | None], object]


class _Gate:
    """The handler that stands before torch's own."""

    def __init__(self) -> None:
        self.behind: _Handler | None = None
        self.num_waiting = 0

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self.num_waiting and self.behind is not None:
            self.behind(number, frame)

    def stand_before_torch(self) -> None:
        """Take the place of torch's handler, which it sets once, with its first worker."""
        handler = signal.getsignal(signal.SIGCHLD)
        if callable(handler) and getattr(handler, "__module__", "") == _TORCH_MODULE:
            self.behind = handler
            signal.signal(signal.SIGCHLD, self)


_gate = _Gate()


@contextlib.contextmanager
def waiting_for_workers() -> Iterator[None]:
    """Let the death of a worker raise a RuntimeError in this block, if it has not before.

    Only the main thread hears of it at once; elsewhere the loader's timeout does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _gate.num_waiting += 1
    try:
        _gate(signal.SIGCHLD, None)  # those that died since the last batch
        yield
    finally:
        _gate.num_waiting -= 1
        _gate.stand_before_torch()
