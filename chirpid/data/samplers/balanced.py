"""Items drawn class by class, so that a rare class comes as often as a frequent one."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, InitVar, dataclass, field

import numpy as np
import numpy.typing as npt

from chirpid.data.mix import turns
from chirpid.data.samplers.base import IdSampler, Sampler, check_batch_size, occurrences
from chirpid.data.samplers.checks import assign, whole
from chirpid.data.samplers.classes import Classes, classes_of
from chirpid.data.samplers.streams import DRAWS, MEMBERS
from chirpid.errors import ConfigError
from chirpid.seeds import mix64
from chirpid.types import FloatArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class ClassBalancedSampler(IdSampler):
    """Items whose classes come equally often, or in proportion to n_c^alpha.

    Whose turn it is, is a stretch of the endless sequence of `data.mix`: a class's share of any
    stretch is off by less than a few draws. A class is gone through in rounds, each in an order of
    its own: all of its items once before any comes again, from epoch to epoch too.

    Raises:
        ConfigError: a setting is out of range, or `drop_last` leaves no batch.
        DataError: labels are not one whole number or text for each item, one is below 0, or no
            item is left.
    """

    labels: InitVar[npt.ArrayLike]
    """The class of each item, a whole number or a text."""
    batch_size: int
    _: KW_ONLY
    alpha: float = 0.0
    """A class of n items is drawn in proportion to n^alpha: 0 each as often, 1 as they are."""
    num_samples: int | None = None
    """Draws of an epoch; None: as many as there are items with a class."""
    ignore_negative: InitVar[bool] = False
    """Leave out items with a label below 0, which are an error otherwise."""
    seed: int = 0
    drop_last: bool = False
    """Leave out the draws at the end that do not fill a batch."""
    classes: Classes = field(init=False, repr=False)

    def __post_init__(self, labels: npt.ArrayLike, ignore_negative: bool) -> None:
        if not math.isfinite(self.alpha):
            raise ConfigError(f"alpha is {self.alpha}. Use a number, as 0 for equal classes.")
        if self.num_samples is not None:
            whole("num_samples", self.num_samples)
        whole("seed", self.seed, least=0)
        assign(self, classes=classes_of(labels, ignore_negative=ignore_negative))
        check_batch_size(self.num_ids, self.batch_size, self.drop_last)

    @property
    def num_ids(self) -> int:
        """How many ids an epoch has."""
        return len(self.classes.item_N) if self.num_samples is None else self.num_samples

    @property
    def share_C(self) -> FloatArray:
        """Share of the draws of each class, float64 [C], in ascending order of labels."""
        log_C = self.alpha * np.log(self.classes.size_C)
        # Powers that overflow, or leave a class no share at all, have no turns.
        power_C = np.maximum(np.exp(log_C - log_C.max()), 1e-300)
        return np.asarray(power_C / power_C.sum())

    def epoch_ids(self, epoch: int) -> IntArray:
        """Return the ids of an epoch in order, int64 [n]."""
        class_D, draw_D = turns(self.share_C, self.num_ids, seed=self.seed, epoch=epoch)
        round_D, slot_D = np.divmod(draw_D, self.classes.size_C[class_D])
        return self.classes.members(class_D, round_D, slot_D, self.seed, MEMBERS)


@dataclass(frozen=True, slots=True, eq=False)
class MPerClassSampler(Sampler):
    """Batches of some classes with equally many items of each, for losses that compare items.

    Classes, and the items of a class, are gone through in rounds, each in an order of its own. What
    does not fill a batch or a group at the end of a round sits that round out. So no class comes
    twice in a batch, nor an item, unless its class has fewer than are taken: then its items come
    about equally often. Rounds begin anew with each epoch.

    Raises:
        ConfigError: a setting is out of range, or there are fewer classes than a batch takes.
        DataError: as `ClassBalancedSampler`.
    """

    labels: InitVar[npt.ArrayLike]
    """The class of each item, a whole number or a text."""
    classes_per_batch: int
    samples_per_class: int
    _: KW_ONLY
    batches_per_epoch: int | None = None
    """None: as many as hold as many draws as there are items, at least 1."""
    ignore_negative: InitVar[bool] = False
    """Leave out items with a label below 0, which are an error otherwise."""
    seed: int = 0
    classes: Classes = field(init=False, repr=False)

    def __post_init__(self, labels: npt.ArrayLike, ignore_negative: bool) -> None:
        assign(self, classes=classes_of(labels, ignore_negative=ignore_negative))
        whole("classes_per_batch", self.classes_per_batch)
        whole("samples_per_class", self.samples_per_class)
        if self.batches_per_epoch is not None:
            whole("batches_per_epoch", self.batches_per_epoch)
        whole("seed", self.seed, least=0)
        if self.classes_per_batch > len(self.classes):
            raise ConfigError(
                f"classes_per_batch is {self.classes_per_batch}, but there are {len(self.classes)} "
                "classes. Use no more."
            )

    def num_batches(self, epoch: int) -> int:
        """Return how many batches an epoch has."""
        batch_size = self.classes_per_batch * self.samples_per_class
        return self.batches_per_epoch or max(1, len(self.classes.item_N) // batch_size)

    def batches(self, epoch: int) -> list[IntArray]:
        """Return the ids of all batches of an epoch, class after class, int64 [B] each."""
        class_G = self._class_turns(epoch)
        size_G = self.classes.size_C[class_G]
        group_G = occurrences(class_G)
        round_G, within_G = np.divmod(group_G, np.maximum(size_G // self.samples_per_class, 1))
        slot_GS = within_G[:, None] * self.samples_per_class + np.arange(self.samples_per_class)
        drawn = self.classes.members(
            np.repeat(class_G, self.samples_per_class),
            np.repeat(round_G, self.samples_per_class),
            (slot_GS % size_G[:, None]).ravel(),
            *(self.seed, MEMBERS, epoch),
        )
        return list(drawn.reshape(self.num_batches(epoch), -1))

    def _class_turns(self, epoch: int) -> IntArray:
        """Return the classes of all batches, one after another, [batches * classes_per_batch]."""
        num_classes, per_batch = len(self.classes), self.classes_per_batch
        per_round = num_classes // per_batch
        num_rounds = -(-self.num_batches(epoch) // per_round)
        round_R1 = np.arange(num_rounds, dtype=np.uint64)[:, None]
        rank_RC = mix64(self.seed, epoch, DRAWS, round_R1, np.arange(num_classes, dtype=np.uint64))
        order_RC = np.argsort(rank_RC, axis=1, kind="stable")
        turns_R = order_RC[:, : per_round * per_batch].ravel()
        return turns_R[: self.num_batches(epoch) * per_batch]
