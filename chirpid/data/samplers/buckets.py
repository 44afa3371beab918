"""Batches of items of like length: least padding within a window of the shuffled order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field

import numpy as np
import numpy.typing as npt

from chirpid.data.order import sorting
from chirpid.data.samplers.base import Sampler, check_batch_size, num_cut
from chirpid.data.samplers.checks import assign, lengths_of, whole
from chirpid.data.samplers.plain import shuffled_places
from chirpid.data.samplers.streams import BATCHES
from chirpid.seeds import mix64
from chirpid.types import IntArray


@dataclass(frozen=True, slots=True, eq=False)
class BucketSampler(Sampler):
    """Every item once in an epoch, in batches of items of like length.

    The shuffled order is cut into windows, a window is sorted by length, the longest first and
    equal ones as they were shuffled, and cut into batches. Then batches are shuffled over the
    epoch. No other batches of this size within a window need less padding; the one batch that is
    short lies where it saves most.

    Raises:
        ConfigError: a setting is out of range, or `drop_last` leaves no batch.
        DataError: lengths or ids are not whole numbers from 0 on, or an id has no length.
    """

    lengths: InitVar[npt.ArrayLike]
    """Elements of each item of the set: samples, tokens, frames."""
    batch_size: int
    _: KW_ONLY
    window_batches: int = 100
    """A window in batches: 1 is a plain shuffle, more pads less and mixes less."""
    ids: InitVar[npt.ArrayLike | None] = None
    """The items to use; None: all."""
    seed: int = 0
    drop_last: bool = False
    """Leave out the items at the end of the shuffled order that do not fill a batch."""
    id_N: IntArray = field(init=False, repr=False)
    length_N: IntArray = field(init=False, repr=False)

    def __post_init__(self, lengths: npt.ArrayLike, ids: npt.ArrayLike | None) -> None:
        id_N, length_N = lengths_of(lengths, ids)
        assign(self, id_N=id_N, length_N=length_N)
        whole("window_batches", self.window_batches)
        whole("seed", self.seed, least=0)
        check_batch_size(len(id_N), self.batch_size, self.drop_last)

    def num_batches(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        return num_cut(len(self.id_N), self.batch_size, self.drop_last)

    def batches(self, epoch: int) -> Sequence[IntArray]:
        """Return the ids of all batches of an epoch, the longest item first, int64 [B] each."""
        return self.alike_batches(epoch, 1)

    def alike_batches(self, epoch: int, num_alike: int) -> Sequence[IntArray]:
        """Return the batches of an epoch, so many in a row about as long as each other."""
        place = shuffled_places(self.id_N, seed=self.seed, epoch=epoch)
        num_batches, size = self.num_batches(epoch), self.batch_size
        place = place[: num_batches * size]
        place = sorted_in_windows(place, self.length_N, self.window_batches * size)
        starts = np.arange(num_batches) * size
        if len(place) % size:
            first = (num_batches - 1) // self.window_batches * self.window_batches
            starts[first:] += _starts(self.length_N[place[first * size :]], size)
        found = np.split(self.id_N[place], starts[1:])
        return shuffled_batches(found[:num_batches], self.seed, epoch, num_alike)


def _starts(falling_W: IntArray, batch_size: int) -> IntArray:
    """Return by how much each batch of the last window begins earlier than full ones would, [m].

    All batches after the short one do. It lies where the sum of batch size times longest item is
    smallest. That is the least of all batches, not only of neighbours in the sorted order: to give
    the batch with the longest item the next longest ones makes no other batch longer, and so on.
    """
    num_full, rest = divmod(len(falling_W), batch_size)
    before = np.cumsum([0, *falling_W[::batch_size][:num_full]])
    after = np.cumsum([0, *falling_W[rest::batch_size][:num_full][::-1]])[::-1]
    padded = batch_size * (before + after) + rest * falling_W[::batch_size]
    short = int(np.argmin(padded))
    return np.where(np.arange(num_full + 1) > short, rest - batch_size, 0)


def sorted_in_windows(place_n: IntArray, length_N: IntArray, window_items: int) -> IntArray:
    """Return places sorted by length within each window, the longest first, int64 [n]."""
    window_n = np.arange(len(place_n)) // window_items
    return place_n[np.lexsort((-length_N[place_n], window_n))]


def shuffled_batches(
    batches: Sequence[IntArray], seed: int, epoch: int, num_alike: int
) -> list[IntArray]:
    """Return batches in the random order of an epoch, rows of `num_alike` neighbours together.

    Those at the end that make no row stay there.
    """
    num_rows = len(batches) // num_alike
    rows = sorting(mix64(seed, epoch, BATCHES, np.arange(num_rows, dtype=np.uint64)))
    places = (rows[:, None] * num_alike + np.arange(num_alike)).ravel()
    return [*(batches[place] for place in places.tolist()), *batches[num_rows * num_alike :]]


def padding_share(batches: Sequence[IntArray], lengths: npt.ArrayLike) -> float:
    """Return which part of all batches is padding: 0 where the items of each are equally long.

    Args:
        lengths: of all items of the set, in elements.
    """
    filled = [batch for batch in batches if len(batch)]
    if not filled:
        return 0.0
    sizes = np.array([len(batch) for batch in filled])
    length = np.asarray(lengths)[np.concatenate(filled)]
    longest = np.maximum.reduceat(length, np.cumsum(sizes) - sizes)
    padded = int((sizes * longest).sum())
    return 1.0 - int(length.sum()) / padded if padded else 0.0
