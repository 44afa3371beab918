"""A loader of samples that come one after another: iterable datasets, files read in sequence.

The stream is read in the calling thread, or by torch's own worker processes where asked for. It is
shuffled within windows: each is a stretch of the stream, kept in memory, in an order that depends
on seed and epoch alone.
"""

from __future__ import annotations

import itertools
import logging
import time
import warnings
from collections.abc import Generator, Iterable, Iterator, Mapping
from pickle import PicklingError
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from chirpid.data.collate import DefaultCollator
from chirpid.data.general.fill import Collate
from chirpid.data.general.loose import Loose
from chirpid.data.general.protocols import Resumable
from chirpid.data.general.trees import Tree, map_leaves
from chirpid.data.general.windows import StreamRule, Windows
from chirpid.data.samplers.base import num_cut
from chirpid.data.samplers.checks import whole
from chirpid.errors import ConfigError, TrainingError
from chirpid.loading.factory import Say
from chirpid.loading.universal.base import AnyLoader, closed
from chirpid.loading.universal.stream_ways import StreamWay
from chirpid.seeds import mix64
from chirpid.types import Batch, Span, StartMethod


class StreamLoader(AnyLoader):
    """Batches of a stream, which is read anew for each epoch.

    Args:
        collate: makes a batch of a list of samples; None: as torch's default does it.
        way: who reads it. Of several workers each gives the samples of its own part: the stream
            has to split itself by `torch.utils.data.get_worker_info`, and to say so by an
            attribute `splits_itself`.
        say: told that an epoch has nothing, though one before had; None logs it.

    Raises:
        ConfigError: several workers would each give all samples.
    """

    def __init__(
        self,
        dataset: Iterable[Any],
        rule: StreamRule,
        *,
        collate: Collate | None = None,
        way: StreamWay | None = None,
        device: torch.device | None = None,
        say: Say | None = None,
    ) -> None:
        super().__init__(rule.batch_size, device)
        self.rule, self.way = rule, way or StreamWay()
        self._stream = dataset
        self._collate: Collate = collate or DefaultCollator()
        self._begun: Any = None
        self._say = say or logging.getLogger("chirpid").warning
        self._gave = False
        """A pass has given a batch."""
        self._windows: Windows | None = None
        self._made: Generator[Batch] | None = None
        """Of the pass that goes on: it holds the workers."""
        self._is_closed = False
        num_workers = self.num_workers
        if num_workers > 1 and not splits_itself(dataset):
            raise ConfigError(
                f"num_workers={num_workers}: each worker would give all samples of a "
                f"{type(dataset).__name__}. Use num_workers=1; or split it by torch's "
                "get_worker_info, and set its attribute splits_itself = True."
            )

    @property
    def dataset(self) -> Iterable[Any]:
        """What is loaded."""
        return self._stream

    @property
    def num_workers(self) -> int:
        """Worker processes of torch; 0: it is read in the calling thread."""
        return self.way.num_workers

    @property
    def prefetch(self) -> int:
        """Batches that each worker is ahead."""
        return self.way.prefetch

    def __len__(self) -> int:
        """Return the batches of an epoch, if the stream knows its length.

        Raises:
            TypeError: it does not.
        """
        num_samples = len(self._stream)  # type: ignore[arg-type]
        return num_cut(num_samples, self.rule.batch_size, self.rule.drop_last)

    def _pass(self, epoch: int, first: int) -> Iterator[Any]:
        self._check_open()
        set_epoch = getattr(self._stream, "set_epoch", None)
        if set_epoch is not None:
            set_epoch(epoch)
        begun, self._begun = self._begun, None
        self._at, self._windows = (epoch, first), Windows(self._stream, self.rule, epoch)
        made = self._by_workers(first) if self.num_workers else self._here(first, begun)
        self._made = made
        try:
            for number, batch in enumerate(self._watched(made), start=first + 1):
                self._at, self._gave = (epoch, number), True
                rows: Any = batch.inputs
                yield self._on_device(rows.value)
                self._check_open()
        finally:
            made.close()  # a pass that is broken off ends its workers
        if self._gave and self._at == (epoch, 0):
            self._say(
                f"Epoch {epoch} has no batches, and one before had some: a "
                f"{type(self._stream).__name__} can be gone through once only. Give an object "
                "whose __iter__ begins anew."
            )
        self._at, self._windows = (epoch + 1, 0), None
        self._note_pass()

    def _check_open(self) -> None:
        if self._is_closed:
            raise closed()

    def _here(self, first: int, begun: Any) -> Generator[Batch]:
        """Yield the batches of a pass, made in the calling thread."""
        assert self._windows is not None
        lists = self._windows.after(first, begun)
        while True:
            begin, begin_core = time.perf_counter(), time.thread_time()
            samples = next(lists, None)
            if samples is None:
                return
            got = time.perf_counter()
            batch = Loose(self._locked(self._collate(samples)), len(samples))
            end, core_s = time.perf_counter(), time.thread_time() - begin_core
            stages = {"item": got - begin, "collate": end - got}
            yield _batch(batch, stages, Span(-1, begin, end, stages, core_s))

    def _by_workers(self, first: int) -> Generator[Batch]:
        """Yield the batches of a pass, made by torch's workers.

        Raises:
            ConfigError: the stream cannot be sent to them.
            TrainingError: no batch came in time.
        """
        reading = self._begun_workers()
        for number in itertools.count():
            try:
                num_rows, value = next(reading)
            except StopIteration:
                return
            except RuntimeError as error:  # torch has no kind of its own for it
                if "DataLoader timed out" not in str(error):
                    raise
                raise TrainingError(
                    f"No batch of the {type(self._stream).__name__} came from its workers within "
                    f"{self._timeout_s:g} s. Raise timeout_s, or use a smaller window."
                ) from error
            if number >= first:
                yield _batch(Loose(self._locked(value), num_rows), {})

    def _begun_workers(self) -> Iterator[Any]:
        """Return what torch's workers, which are started, make: batches and their sizes."""
        assert self._windows is not None
        way, seed = self.way, mix64(self.rule.seed, self._windows.epoch)
        is_usual = way.start_method is StartMethod.auto
        torch_loader: Iterable[Any] = DataLoader(
            self._windows,
            batch_size=None,
            num_workers=way.num_workers,
            prefetch_factor=way.prefetch,
            collate_fn=_Sized(self._collate),
            timeout=self._timeout_s,
            multiprocessing_context=None if is_usual else way.start_method.value,
            generator=torch.Generator().manual_seed(int(seed) >> 1),
        )
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "Got pickle error")  # it is told below
                return iter(torch_loader)
        except (PicklingError, TypeError, AttributeError) as error:  # all of them are pickle's
            raise ConfigError(
                f"A {type(self._stream).__name__} or its collator cannot be sent to workers "
                f"({error}). Use start_method='fork', or num_workers=0."
            ) from error

    @property
    def _timeout_s(self) -> float:
        """Seconds to wait for the next batch: the first of a window takes as long as all."""
        return self.way.timeout_s * self.rule.window_batches

    def _locked(self, tree: Tree) -> Tree:
        """Return a batch, page-locked where that is asked for."""
        return map_leaves(tree, _pinned, keeps_tuples=True) if self.way.pin_memory else tree

    @property
    def num_readers(self) -> int:
        """In how many parts the stream is read: their number decides what is in a batch."""
        return max(1, self.num_workers)

    def _begin_at(self, epoch: int, batch: int) -> None:
        super()._begin_at(epoch, batch)
        self._begun = None  # where another pass was

    def state_dict(self) -> dict[str, Any]:
        """Return where to go on: after the last batch that was handed out.

        What a stream that has `state_dict` itself gave before is not read again then; of another
        one the samples before are read and left out.
        """
        begun, windows, (epoch, batch) = self._begun, self._windows, self._at
        if windows is not None:
            # A pass that was broken off says nothing of another one.
            goes_on = windows.epoch == epoch and batch > 0 and not self.num_workers
            begun = windows.begun if goes_on else None
        return {
            "epoch": epoch, "batch": batch, "begun": begun, "rule": repr(self.rule),
            "readers": self.num_readers,
        }  # fmt: skip

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Begin the next pass where a state was taken.

        Raises:
            ConfigError: the state is of other settings, or no state.
        """
        if missing := {"epoch", "batch", "begun", "rule"} - set(state):
            raise ConfigError(f"A state of a stream has no {sorted(missing)[0]!r}.")
        if state["rule"] != repr(self.rule):
            raise ConfigError(
                f"The state is of {state['rule']}, not of {self.rule!r}. Use the settings it was "
                "taken with, or start anew."
            )
        readers = state.get("readers", self.num_readers)
        if readers != self.num_readers:
            raise ConfigError(
                f"The state is of a stream that {readers} shared, and here are {self.num_readers}: "
                f"its batches were others. Use num_workers={readers}."
            )
        begun = state["begun"]
        tells_place = begun is not None and begun[1] is not None
        if tells_place and not isinstance(self._stream, Resumable):
            raise ConfigError(
                f"The state is of a stream that knows its place, a {type(self._stream).__name__} "
                "has no load_state_dict. Use the stream it was taken of, or start anew."
            )
        self._begin_at(
            whole("epoch of the state", state["epoch"], least=0),
            whole("batch of the state", state["batch"], least=0),
        )
        self._begun, self._windows = begun, None

    def close(self) -> None:
        """End workers. Batches that were handed out stay."""
        self._is_closed = True
        if self._made is not None:
            self._made.close()


class _Sized:
    """A collator that tells how many samples there were, too."""

    def __init__(self, collate: Collate) -> None:
        self.collate = collate

    def __call__(self, samples: list[Any]) -> tuple[int, Any]:
        return len(samples), self.collate(samples)


def _pinned(leaf: Any) -> Any:
    is_plain = isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided
    return leaf.pin_memory() if is_plain and leaf.device.type == "cpu" else leaf


def _batch(rows: Loose, stages: dict[str, float], *spans: Span) -> Batch:
    inputs: Any = rows
    return Batch(np.empty(len(rows), np.int64), inputs, stages, spans=spans)


def splits_itself(dataset: object) -> bool:
    """Return whether each of torch's workers gives a part of its own."""
    if getattr(dataset, "splits_itself", False):
        return True
    return type(dataset).__module__.partition(".")[0] == "datasets"  # Hugging Face's do
