"""Datasets of any kind as what loaders fetch from: ids in, batch and seconds out."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from chirpid.data.datasets.base import RowKind, as_ids
from chirpid.data.general import generators
from chirpid.data.general.columns import Columns, Layout
from chirpid.data.general.fill import Collate, fill
from chirpid.data.general.loose import Loose, LooseLayout, LooseSlot
from chirpid.data.general.protocols import BatchReader, MapDataset, getitems
from chirpid.data.kept import Stages
from chirpid.native.gather import check_within
from chirpid.types import IntArray, Mode


class Source:
    """What all of them share. `num_segments` counts samples."""

    def __init__(self, dataset: Any, spec: RowKind, num_samples: int, mode: Mode) -> None:
        self.dataset, self.spec, self.num_segments, self.mode = dataset, spec, num_samples, mode

    @property
    def looks_ahead(self) -> bool:
        return False

    def expect(self, batches: Sequence[IntArray]) -> None:
        """Nothing is brought in advance."""

    def reached(self, turn: int) -> None:
        """Nothing is brought in advance."""

    def fetch(self, ids: IntArray, out: Any = None) -> tuple[Any, Stages]:
        raise AssertionError("each fetches in its own way")

    def asked(self, ids: IntArray, epoch: int, turns: IntArray | None) -> IntArray:
        """Return what to call samples `ids` of an epoch when they are fetched."""
        return ids

    def close(self) -> None:
        """Release nothing: the dataset is the user's, and may be in use elsewhere."""


class ReaderSource(Source):
    """A dataset that writes its samples where the batch lies."""

    def __init__(self, dataset: BatchReader, mode: Mode) -> None:
        super().__init__(dataset, dataset.layout, len(dataset), mode)
        self.layout = dataset.layout
        self.is_kept = mode is not Mode.lazy
        """Samples are copied; nothing is read or decoded."""
        self._stage = "gather" if self.is_kept else "read"

    def fetch(self, ids: IntArray, out: Columns | None = None) -> tuple[Columns, Stages]:
        begin = time.perf_counter()
        ids = as_ids(ids)
        batch = self.layout.empty(len(ids)) if out is None else out.first(len(ids))
        self.dataset.read_into(ids, batch)
        return batch, {self._stage: time.perf_counter() - begin}


EPOCHS = 2**20
"""Ids of samples in an epoch: sample + number of samples * (epoch + EPOCHS * turn)."""
JOINING = 1
"""Tells what joining a batch draws from what making its first sample does."""


class ItemSource(Source):
    """A dataset that returns a Python object for each sample.

    Args:
        layout: of its samples; None if batches are made by `collate` and have no fixed shape.
        skips: samples that cannot be made are left out; else their error is raised.
        draws: making a sample draws random numbers. If that shows later, it is taken note of then.
    """

    def __init__(
        self,
        dataset: MapDataset,
        *,
        layout: Layout | None,
        row_bytes: int,
        collate: Collate,
        seed: int,
        skips: bool = False,
        draws: bool = False,
    ) -> None:
        spec: RowKind = LooseLayout(row_bytes)
        if layout is not None:
            spec = Layout(layout.leaves, layout.skeleton, in_parts=not skips)
        super().__init__(dataset, spec, len(dataset), Mode.lazy)
        self.layout, self.collate = layout, collate
        self.seed, self.skips, self.draws = seed, skips, draws
        self.collate_draws: bool | None = None
        """Joining samples draws random numbers; None until it has been done once."""

    @property
    def for_threads(self) -> bool:
        """Whether several threads may ask at once."""
        return bool(getattr(self.dataset, "thread_safe", False)) and not self.draws

    def asked(self, ids: IntArray, epoch: int, turns: IntArray | None) -> IntArray:
        """Return numbers that hold the epoch, too, and how often it has come to the sample before.

        So whoever makes a sample knows for what, and draws the same.
        """
        check_within(ids, self.num_segments, "id", "samples")
        turn = 0 if turns is None else turns * EPOCHS
        return ids + self.num_segments * (epoch % EPOCHS + turn)

    def rows_of(self, asked: IntArray) -> IntArray:
        """Return the samples that `asked` names."""
        return asked % self.num_segments

    def fetch(self, ids: IntArray, out: Any = None) -> tuple[Any, Stages]:
        begin = time.perf_counter()
        ids = as_ids(ids)
        samples, kept = self._samples(ids)
        made = time.perf_counter()
        batch = self._batch(samples, ids, kept, out)
        stages = {"item": made - begin, "collate": time.perf_counter() - made}
        if kept is not None:
            stages["num_skipped"] = len(ids) - len(kept)
        return batch, stages

    def _batch(self, samples: list[Any], ids: IntArray, kept: IntArray | None, out: Any) -> Any:
        if self.layout is not None:
            batch = self.layout.empty(len(samples)) if out is None else out.first(len(samples))
            fill(samples, self.layout, batch, self.rows_of(ids if kept is None else kept).tolist())
            if kept is not None:  # so it is a part of the slot, and not the slot itself
                batch.ids = kept
            return batch
        loose = Loose(self._joined(samples, ids) if samples else None, len(samples), kept)
        if isinstance(out, LooseSlot):
            out.write(loose)
        return loose

    def _joined(self, samples: list[Any], ids: IntArray) -> Any:
        """Return samples as one batch. What that draws depends on the first id that was asked for.

        Else workers that were forked from one process would all draw the same numbers.
        """
        if threading.current_thread() is not threading.main_thread():
            return self.collate(samples)
        if not self.collate_draws:
            keeping = generators.put_back() if self.collate_draws is None else nullcontext()
            with keeping:
                before = generators.mark()
                batch = self.collate(samples)
                self.collate_draws = before != generators.mark()
            if not self.collate_draws:
                return batch
            samples = self._samples(ids)[0]  # a collator may have changed those that it was given
        with generators.put_back():
            generators.seed_for(self.seed, int(ids[0]), JOINING)
            return self.collate(samples)

    def _samples(self, ids: IntArray) -> tuple[list[Any], IntArray | None]:
        """Return the samples, and the ids that they are of if some were left out."""
        if threading.current_thread() is not threading.main_thread():
            return self._made(ids)  # the generators are also those of the training
        if not self.draws:
            before = generators.mark()
            made = self._made(ids)
            if before == generators.mark():
                return made
            self.draws = True
        with generators.put_back():
            return self._made(ids, seeded=True)

    def _made(self, ids: IntArray, *, seeded: bool = False) -> tuple[list[Any], IntArray | None]:
        rows = self.rows_of(ids).tolist()
        if not seeded and not self.skips:
            return getitems(self.dataset, rows), None
        samples, kept = [], []
        for row, key in zip(rows, ids.tolist(), strict=True):
            if seeded:
                generators.seed_for(self.seed, key)
            try:
                samples += getitems(self.dataset, [row])
            except Exception:  # it is counted, and told with its reason by who knows the user
                if not self.skips:
                    raise
            else:
                kept.append(key)
        return samples, np.array(kept, np.int64) if len(kept) < len(ids) else None

    def reason(self, row: int) -> str:
        """Return why a sample cannot be made; it is tried once more for that."""
        try:
            with generators.put_back():
                getitems(self.dataset, [row])
        except Exception as error:  # noqa: BLE001 - whatever it is, it is what is told
            return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
        return "it could be made at a second try"
