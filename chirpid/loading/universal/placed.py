"""Parts of a dataset that name a sample several times, as for training on it more often."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from chirpid.data.samplers import Sampler
from chirpid.data.samplers.base import occurrences
from chirpid.data.samplers.checks import assign
from chirpid.data.samplers.settings import settings_text
from chirpid.types import IntArray


def comes_twice(id_N: IntArray) -> bool:
    """Return whether an id stands there more than once."""
    ascending = np.sort(id_N)
    return bool((ascending[1:] == ascending[:-1]).any())


@dataclass(frozen=True, slots=True, eq=False)
class Placed(Sampler):
    """The batches of a sampler of places, at each of which stands a sample; at some the same.

    What is drawn for a sample depends on its place and the epoch, not on the order of the places.
    """

    base: Sampler
    id_N: IntArray
    """The sample at each place."""
    turn_N: IntArray = field(init=False, repr=False)
    """At how many places before each the same sample stands."""

    def __post_init__(self) -> None:
        assign(self, turn_N=occurrences(self.id_N))

    def num_batches(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return self.base.num_batches(epoch)

    def batches(self, epoch: int) -> list[IntArray]:
        """Return the samples of all batches of an epoch, int64 [B] each."""
        return [self.id_N[places] for places in self.base.batches(epoch)]

    def repeats(self, epoch: int) -> list[IntArray]:
        """Return a number for each sample that no other of the same has in the epoch, [B] each."""
        num_turns = int(self.turn_N.max(initial=0)) + 1
        again = zip(self.base.batches(epoch), self.base.repeats(epoch), strict=True)
        return [self.turn_N[places] + num_turns * before for places, before in again]

    def fingerprint(self) -> str:
        """Return the settings that batches depend on, as one line."""
        return f"{self.base.fingerprint()} of samples {settings_text(self.id_N)}"
