"""A data module for any dataset: one to train on, one to validate, and where training is."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any, Unpack

from torch.utils.data import Subset

from chirpid.data.general.adapt import Collation, is_stream
from chirpid.data.samplers import Sampler, SequentialSampler, ShuffledSampler
from chirpid.data.samplers.checks import whole
from chirpid.data.samplers.distributed import all_ranks
from chirpid.errors import ConfigError
from chirpid.loading.universal.adopted import AdoptedDataModule
from chirpid.loading.universal.base import AnyLoader
from chirpid.loading.universal.easy import make_loader
from chirpid.loading.universal.handing import TRAIN, DataModule, HandingModule, entry
from chirpid.loading.universal.parts import Named, Part, count_of, first_held_out, opened
from chirpid.loading.universal.passes import Passes
from chirpid.loading.universal.settings import LoaderSettings
from chirpid.loading.universal.shares import share_of_rank, stream_of_rank
from chirpid.loading.universal.splitting import Split, given_split, hold_out
from chirpid.loading.universal.values import has_column, values_of

__all__ = ["DataModule", "LoaderSettings", "UniversalDataModule"]

GROUP = "group"
"""A column of this name is what `group="auto"` splits by."""


class UniversalDataModule(HandingModule):
    """Any dataset, split, as loaders to train, validate and test by.

    Lightning's `Trainer` takes it as `datamodule`; it works alone as well. Training is shuffled,
    each epoch in an order of its own; validation and tests are whole and in order, every time the
    same. Where torch.distributed runs, each rank gets its share.

    Args:
        train: whatever `make_loader` takes; or a dict of datasets of Hugging Face, whose parts
            `train`, `validation` and `test` are taken.
        val: what to validate, a list or dict of datasets for several loaders; None holds some of
            `train` out.
        test: as `val`; nothing is held out for it.
        split: (ids to train on, ids to validate) of `train`, instead of a fraction.
        val_fraction: of `train` to hold out; 0 for no validation.
        val_take: of a stream, the first so many samples are held out, and never trained on.
        group: what must not be on both sides: the name of a column, a value for each sample, or a
            function of a sample; `auto` is the column "group" if there is one; None: no groups.
        stratify: the class of each sample, given in the same ways, to hold out some of each.
        batch_size: samples a batch.
        seed: decides what is held out, the order, and what samples draw.
        hardware, loader, collate: as `make_loader` has them.
        drop_last: leave out a last batch that is not full, in training only.
        **settings: of `make_loader`.

    Raises:
        ConfigError: a setting is out of range, or at odds with another.
        DataError: there are no samples, or too few samples or groups to hold some out.
    """

    def __init__(
        self,
        train: Any,
        val: Any = None,
        *,
        test: Any = None,
        split: tuple[Any, Any] | None = None,
        val_fraction: float = 0.2,
        val_take: int = 0,
        group: Any = "auto",
        stratify: Any = None,
        batch_size: int = 64,
        seed: int = 0,
        hardware: str = "auto",
        loader: str = "auto",
        collate: Collation = None,
        drop_last: bool = False,
        **settings: Unpack[LoaderSettings],
    ) -> None:
        super().__init__()
        whole("seed", seed, least=0)
        whole("val_take", val_take, least=0)
        self.batch_size, self.seed, self.drop_last = batch_size, seed, drop_last
        self.hardware, self.loader, self.collate = hardware, loader, collate
        self.settings = settings
        self.split: Split | None = None
        """What was held out of `train`; None where nothing was."""
        self.notes: list[str] = []
        """What was decided by itself, a line each."""
        train, val, test = opened(train, val, test)
        self._val_take = val_take
        self._test, self._val = Named.of(test, "test"), Named.of(val, "val")
        chosen = {"split": split, "group": group, "stratify": stratify}
        if is_stream(train):
            self._train = self._of_stream(train, chosen)
        else:
            self._train = self._of_rows(train, val_fraction, chosen)

    def _of_stream(self, train: Any, chosen: dict[str, Any]) -> Part:
        """Return what is trained on, and take note of what is held out."""
        _refuse(chosen, "the samples of a stream are not drawn from")
        if not self._val_take:
            if not self._val.parts:
                self.notes.append(
                    "Nothing is validated: a stream has no length to take a fraction of. "
                    "val_take=n holds out its first n samples."
                )
            return Part.of(train)
        if self._val.parts:
            _refuse({"val_take": self._val_take}, "val is given")
        part, held = first_held_out(train, self._val_take)
        self._val = Named({"val": held})
        return part

    def _of_rows(self, train: Any, fraction: float, chosen: dict[str, Any]) -> Part:
        """Return what is trained on, and take note of what is held out."""
        if self._val_take:
            _refuse({"val_take": self._val_take}, "train is no stream, so val_fraction is for it")
        whole_set = Part.of(train)
        if self._val.parts:
            _refuse(chosen, "val is given")
            return whole_set
        if chosen["split"] is not None:
            _refuse({**chosen, "split": None}, "split is given")
            self.split = given_split(chosen["split"], len(whole_set))
        elif fraction:
            self.split = self._drawn(train, fraction, chosen["group"], chosen["stratify"])
        else:
            _refuse(chosen, "nothing is held out")
            return whole_set
        self._val = Named({"val": Part.of(train, self.split.val_N)})
        return Part.of(train, self.split.train_N)

    def _drawn(self, train: Any, fraction: float, group: Any, stratify: Any) -> Split:
        if isinstance(group, str) and group == "auto":
            group = GROUP if has_column(train, GROUP) else None
            if group is not None:
                self.notes.append("Split by the column 'group'; group=None leaves it out.")
        return hold_out(
            count_of(train, "train"),
            fraction,
            seed=self.seed,
            group_N=None if group is None else values_of(train, group, "group"),
            label_N=None if stratify is None else values_of(train, stratify, "stratify"),
        )

    @property
    def batch_size(self) -> int:
        """Samples a batch. Setting it makes all loaders anew, from their first epoch on."""
        return self._batch_size

    @batch_size.setter
    def batch_size(self, value: int) -> None:
        self._batch_size = whole("batch_size", value)
        self.close()
        self._last.clear()
        self._resume.clear()

    @classmethod
    def of(
        cls, module: Any, *, seed: int = 0, **settings: Unpack[LoaderSettings]
    ) -> AdoptedDataModule:
        """Return somebody else's data module with its loaders made anew by `make_loader`.

        See `AdoptedDataModule`.
        """
        return AdoptedDataModule(module, seed=seed, **settings)

    def train_dataloader(self) -> Passes:
        """Return the loader to train by; iterating over it again is the next epoch."""
        return self._training(TRAIN, partial(self._passes_of, self._train, trains=True))

    def val_dataloader(self) -> Any:
        """Return the loader to validate by, a list or dict if several were given, [] if none."""
        return self._fixed(self._val, "val")

    def test_dataloader(self) -> Any:
        """Return the loader to test by, a list or dict if several were given, [] if none."""
        return self._fixed(self._test, "test")

    def as_lightning(self) -> Any:
        """Return the module, for type checkers that know a `LightningDataModule` by its bases."""
        return self

    def _fixed(self, named: Named, role: str) -> Any:
        made = {}
        for name, part in named.parts.items():
            make = partial(self._passes_of, part, trains=False)
            made[name] = self._kept(f"{role} {name}", make)
        if named.kind is None:
            return next(iter(made.values()))
        return made if named.kind is dict else list(made.values())

    def _passes_of(self, part: Part, *, trains: bool) -> Passes:
        return Passes(self._loader_of(part, trains=trains), is_fixed=not trains)

    def _loader_of(self, part: Part, *, trains: bool) -> AnyLoader:
        sampler: Sampler | None = None
        data, drop_last = part.data, trains and self.drop_last
        if part.is_stream:
            data = self._stream_of_rank(data)
        elif all_ranks() > 1:
            if trains:
                sampler = ShuffledSampler(
                    part.ids, self.batch_size, drop_last=drop_last, seed=self.seed
                )
            else:
                sampler = SequentialSampler(part.ids, self.batch_size)
            sampler = share_of_rank(sampler, trains=trains, say=self._say)
        elif part.id_N is not None:
            data = Subset(data, part.id_N)  # type: ignore[arg-type]  # an array is enough
        return make_loader(
            data, self.batch_size, trains, self.hardware, self.loader, self.seed,
            sampler=sampler, drop_last=drop_last, collate=self.collate, **self.settings,
        )  # fmt: skip

    def _stream_of_rank(self, data: Any) -> Any:
        num_ranks = all_ranks()
        if self._val_take and (num_ranks > 1 or (self.settings.get("num_workers") or 0) > 1):
            raise ConfigError(
                f"val_take={self._val_take} holds out what a single reader gives first, and here "
                "are several. Use one rank and num_workers=0 or 1, or give val=..."
            )
        return data if num_ranks == 1 else stream_of_rank(data, self._say)

    def _say(self, line: str) -> None:
        (self.settings.get("say") or logging.getLogger("chirpid").warning)(line)

    def state_dict(self) -> dict[str, Any]:
        """Return seed, split, and where training goes on: plain values, for a checkpoint."""
        return {
            "seed": self.seed,
            "split": self._split_text(),
            "positions": self._positions(),
        }

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Have training go on where a state was taken.

        Raises:
            ConfigError: the state is of another seed, split or data, or no state of a module.
        """
        mine = self.state_dict()
        for name in ("seed", "split"):
            if entry(state, name) != mine[name]:
                raise ConfigError(
                    f"The state is of {name} {state[name]!r}, not of {mine[name]!r}: samples that "
                    "were trained on could be validated. Use the data and settings it was taken "
                    "with."
                )
        self._begin_at(entry(state, "positions"))

    def _split_text(self) -> str:
        """Return what is on which side, as far as that is known, in one line."""
        if self._train.is_stream:
            return f"a stream without its first {self._val_take} samples"
        if self.split is None:
            return f"{len(self._train)} samples to train on, none held out"
        counts = f"{len(self.split.train_N)} samples to train on, {len(self.split.val_N)} held out"
        return f"{counts}: {self.split.fingerprint()}"


def _refuse(chosen: dict[str, Any], why: str) -> None:
    """Refuse what is given and would be ignored."""
    for name, value in chosen.items():
        if value is not None and not (isinstance(value, str) and value == "auto"):
            raise ConfigError(f"{name} has no meaning here: {why}. Leave it out.")
