"""Items drawn in proportion to weights."""

from __future__ import annotations

from dataclasses import KW_ONLY, InitVar, dataclass, field

import numpy as np
import numpy.typing as npt

from chirpid.data.samplers.base import IdSampler, check_batch_size
from chirpid.data.samplers.checks import assign, weights_of, whole
from chirpid.data.samplers.streams import DRAWS, KEYS
from chirpid.errors import ConfigError
from chirpid.seeds import uniform
from chirpid.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class WeightedSampler(IdSampler):
    """Items drawn in proportion to their weights; those of weight 0 never.

    With replacement, each draw is independent of all others. Without, each is in proportion to the
    weights of the items that are left, and no item comes twice in an epoch.

    Raises:
        ConfigError: a weight is negative or not a number, none is above 0, more items are wanted
            than there are, or a setting is out of range.
    Source: without replacement, the keys of Efraimidis and Spirakis (2006),
        doi:10.1016/j.ipl.2005.11.003.
    """

    weights: InitVar[npt.ArrayLike]
    """One for each item, up to a common factor."""
    batch_size: int
    _: KW_ONLY
    num_samples: int | None = None
    """Draws of an epoch; None: as many as there are items, without replacement as many as have a
    weight above 0."""
    replacement: bool = True
    seed: int = 0
    drop_last: bool = False
    """Leave out the draws at the end that do not fill a batch."""
    weight_N: FloatArray = field(init=False, repr=False)

    def __post_init__(self, weights: npt.ArrayLike) -> None:
        assign(self, weight_N=weights_of(weights))
        if self.num_samples is not None:
            whole("num_samples", self.num_samples)
        whole("seed", self.seed, least=0)
        drawable = int(np.count_nonzero(self.weight_N))
        if not self.replacement and self.num_ids > drawable:
            raise ConfigError(
                f"num_samples is {self.num_samples}, but {drawable} items have a weight above 0. "
                "Draw no more, or use replacement=True."
            )
        check_batch_size(self.num_ids, self.batch_size, self.drop_last)

    @property
    def num_ids(self) -> int:
        """How many ids an epoch has."""
        if self.num_samples is not None:
            return self.num_samples
        return len(self.weight_N) if self.replacement else int(np.count_nonzero(self.weight_N))

    def epoch_ids(self, epoch: int) -> IntArray:
        """Return the ids of an epoch in the order they are drawn in, int64 [n]."""
        drawable = np.flatnonzero(self.weight_N)
        drawn = self._with_replacement if self.replacement else self._without_replacement
        return drawable[drawn(self.weight_N[drawable], epoch)]

    def _with_replacement(self, weight_M: FloatArray, epoch: int) -> IntArray:
        """Return places of the draws by the inverse of the cumulative weights, [n]."""
        draw = np.arange(self.num_ids, dtype=np.uint64)
        upto_M = np.cumsum(weight_M)
        level = uniform(self.seed, epoch, DRAWS, draw) * upto_M[-1]
        # Rounding can lift the level to the very end, where no item is.
        place: IntArray = np.searchsorted(upto_M, level, side="right")
        return np.minimum(place, len(upto_M) - 1)

    def _without_replacement(self, weight_M: FloatArray, epoch: int) -> IntArray:
        """Return places of the items with the largest keys u^(1/w), the largest first, [n].

        Compared as log(-log(u) / w), smallest first: the keys themselves underflow.
        """
        item = np.flatnonzero(self.weight_N).astype(np.uint64)
        chance = np.maximum(uniform(self.seed, epoch, KEYS, item), 2.0**-54)  # above 0
        key_M = np.log(-np.log1p(-chance)) - np.log(weight_M)
        return np.argsort(key_M, kind="stable")[: self.num_ids]
