"""A stream of samples cut into windows, each in an order of its own, and into batches."""

from __future__ import annotations

import itertools
import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, SupportsIndex

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from chirpid.data.general.protocols import Resumable
from chirpid.data.order import sorting
from chirpid.errors import ConfigError
from chirpid.seeds import mix64


@dataclass(frozen=True, slots=True)
class StreamRule:
    """What the batches of a stream depend on, apart from the stream."""

    batch_size: int
    window: int = 1
    """Samples within which the order is shuffled, in whole batches; 1: the stream's own order."""
    seed: int = 0
    drop_last: bool = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "window"):
            value = getattr(self, name)
            is_number = isinstance(value, SupportsIndex) and not isinstance(value, bool)
            if not is_number or operator.index(value) < 1:
                raise ConfigError(f"{name}={value!r} is out of range. Use 1 or more.")
            # A state tells the rule as a text, which is the same for numbers of numpy.
            object.__setattr__(self, name, operator.index(value))

    @property
    def window_batches(self) -> int:
        """Batches of a window."""
        return -(-self.window // self.batch_size)


class Windows(IterableDataset[list[Any]]):
    """The batches of one pass through a stream, each a list of samples.

    Args:
        part: keeps the shuffles of several streams apart.
    """

    def __init__(self, stream: Iterable[Any], rule: StreamRule, epoch: int) -> None:
        self.stream, self.rule, self.epoch = stream, rule, epoch
        self.begun: tuple[int, Any] = (0, None)
        """The first batch of the window that is being handed out, and where the stream was then,
        if it can tell."""

    def __iter__(self) -> Iterator[list[Any]]:
        return self.after(0, None)

    def after(self, num_done: int, begun: tuple[int, Any] | None) -> Iterator[list[Any]]:
        """Yield the batches that come after the first `num_done`.

        Args:
            begun: as an earlier pass had it; so what came before is not read again.
        """
        first, state = (0, None) if begun is None else begun
        if state is not None:
            assert isinstance(self.stream, Resumable)
            self.stream.load_state_dict(state)
        else:
            first = 0
        rule, samples = self.rule, iter(self.stream)
        for number in itertools.count(first // rule.window_batches):
            begin = number * rule.window_batches
            state = self.stream.state_dict() if isinstance(self.stream, Resumable) else None
            window = list(itertools.islice(samples, rule.window_batches * rule.batch_size))
            self.begun = (begin, state)
            for at, batch in enumerate(self._cut(window, number), start=begin):
                if at >= num_done:
                    yield batch
            if len(window) < rule.window_batches * rule.batch_size:
                return

    def _cut(self, window: list[Any], number: int) -> Iterator[list[Any]]:
        rule, worker = self.rule, get_worker_info()
        if rule.window > 1:
            part = 0 if worker is None else worker.id
            places = np.arange(len(window), dtype=np.uint64)
            ranks = mix64(rule.seed, self.epoch, part, number, places)
            window = [window[place] for place in sorting(ranks).tolist()]
        for begin in range(0, len(window), rule.batch_size):
            batch = window[begin : begin + rule.batch_size]
            if len(batch) == rule.batch_size or not rule.drop_last:
                yield batch
