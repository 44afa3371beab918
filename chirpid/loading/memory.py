"""What loading gives up when memory runs short: which step is next, and when one is taken.

A step costs speed and changes no batch. The order is prefetch, workers, rows in RAM, and at last
the worker that works beside the training loop.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

import torch

from chirpid.data.datasets import BatchSource, SegmentDataset, TensorDataset
from chirpid.errors import BudgetError, ChirpError, TrainingError
from chirpid.loading.changes import Shape, altered, shape_of
from chirpid.loading.plan import LoaderPlan
from chirpid.loading.room import MemoryProbe, Room, fall_per_s, give_back, heap_free_bytes
from chirpid.types import Backend, Mode, size_text

EVERY_S = 0.5
LOOK_SHARE = 1e-4
"""Looking takes at most this share of the time: on a machine where it is slow it is done less."""
LOOKS_AHEAD = 2
WRITE_PER_S = 100e6
"""Rows go to a disk about this fast: the fall back begins so much before memory ends."""
MOST_AHEAD_S = 10.0
_WORDS = re.compile(r"MemoryError|OutOfMemoryError|can't allocate memory|[Cc]annot allocate memory")
Say = Callable[[str], None]


class StepKind(StrEnum):
    prefetch = "prefetch"
    workers = "workers"
    cached = "cached"
    inline = "inline"


@dataclass(frozen=True, slots=True)
class State:
    """What a decision is made from."""

    shape: Shape
    batch_bytes: int
    missing_bytes: int
    """What is to be given back; 0 or less: nothing."""
    rows_bytes: int = 0
    """Rows in RAM that could lie on the disk instead; 0 if there are none."""
    device_failed: bool = False
    """It is the GPU's memory that ran out, while a batch was made there."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is given up, and about how much memory comes back."""

    kind: StepKind
    shape: Shape
    frees_bytes: int


def next_step(state: State) -> Step | None:
    """Return the next thing to give up, or None if nothing is missing or nothing is left.

    Prefetch and workers are halved where that is enough, else lowered to one at once: each step
    takes its time, and memory may be gone before the fourth.
    """
    if state.missing_bytes <= 0:
        return None
    shape = state.shape
    if state.device_failed:
        on_device = shape.backend is Backend.device
        return _step(state, StepKind.inline, Shape(Backend.inline, 0, 1)) if on_device else None
    if shape.prefetch > 1:
        fewer = lambda num: replace(shape, prefetch=num)  # noqa: E731
        return _lower(state, StepKind.prefetch, fewer, shape.prefetch)
    if shape.num_workers > 1:
        fewer = lambda num: replace(shape, num_workers=num)  # noqa: E731
        return _lower(state, StepKind.workers, fewer, shape.num_workers)
    if state.rows_bytes > 0:
        return Step(StepKind.cached, shape, state.rows_bytes)
    if shape.num_workers == 1:
        return _step(state, StepKind.inline, Shape(Backend.inline, 0, 1))
    return None


def _lower(state: State, kind: StepKind, to: Callable[[int], Shape], now: int) -> Step:
    step = _step(state, kind, to(now // 2))
    return step if step.frees_bytes >= state.missing_bytes else _step(state, kind, to(1))


def _step(state: State, kind: StepKind, shape: Shape) -> Step:
    fewer = state.shape.num_batches - shape.num_batches
    return Step(kind, shape, fewer * state.batch_bytes)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether a batch failed because memory could not be had, here or in a worker."""
    # A ring of batches in shared memory is refused before it is taken: a BudgetError.
    if isinstance(error, (MemoryError, torch.OutOfMemoryError, BudgetError)):
        return True
    # torch tells of its own allocations by a RuntimeError, and workers by the text of one.
    told = isinstance(error, (RuntimeError, OSError, TrainingError))
    return told and _WORDS.search(str(error)) is not None


class Adjustable(Protocol):
    """A loader, as far as it is adjusted here."""

    dataset: BatchSource
    plan: LoaderPlan | None

    def change(self, plan: LoaderPlan, why: str, *, dataset: BatchSource | None = None) -> None: ...


Fallback = Callable[[TensorDataset, bool], SegmentDataset]
"""(rows in RAM, address space is what is short) -> the same rows on the disk."""


class MemoryGuard:
    """Looks at the memory between batches, and has a loader give up what it can do without.

    Args:
        fallback: puts rows that are in RAM on the disk; None if that cannot be done.
        say: told when nothing is left to give up.
    """

    def __init__(
        self,
        *,
        fallback: Fallback | None = None,
        say: Say | None = None,
        probe: MemoryProbe | None = None,
        every_s: float = EVERY_S,
    ) -> None:
        self.fallback, self.say, self.every_s = fallback, say, every_s
        self.probe = probe or MemoryProbe()
        self.has_stepped = False
        """Something was given up: this is no time to ask for more."""
        self._next_s = 0.0
        self._told = self._just_stepped = False
        self._seen: list[tuple[float, Room]] = []

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        return time.monotonic() >= self._next_s

    def look(self, loader: Adjustable) -> None:
        """Give up one thing if memory is short, and look again after the next batch."""
        if self._just_stepped:
            self._just_stepped, self._seen = False, []
            give_back()
            self.probe.settle()
        begin = time.perf_counter()
        room = self.probe.look()
        now = time.perf_counter()
        self._next_s = time.monotonic() + max(self.every_s, (now - begin) / LOOK_SHARE)
        self._seen = [*self._seen[-2:], (now, room)]
        soon = self._soon(loader, room)
        if soon.missing_bytes <= 0:
            self._told = False
        elif not self._step(loader, soon, self._text(room)) and room.missing_bytes > 0:
            self._tell_once(room)

    def _soon(self, loader: Adjustable, room: Room) -> Room:
        """Return what will be left when the next step would be done, if it goes on like this."""
        rows = loader.dataset
        ahead_s = 0.0
        if len(self._seen) > 1:
            ahead_s = LOOKS_AHEAD * (self._seen[-1][0] - self._seen[-2][0])
        if isinstance(rows, TensorDataset) and rows.mode is Mode.eager and self.fallback:
            ahead_s += rows.rows.nbytes / WRITE_PER_S
        lost = fall_per_s(self._seen) * min(ahead_s, MOST_AHEAD_S)
        return replace(room, free_bytes=room.free_bytes - int(lost))

    def _text(self, room: Room) -> str:
        fall = fall_per_s(self._seen)
        if room.missing_bytes > 0 or not fall:
            return room.text
        return f"{room.text}, {size_text(fall)} fewer each second"

    def relieves(self, loader: Adjustable, error: Exception) -> bool:
        """Return whether a step was taken because of an error, so that the batch can be retried.

        Raises:
            TrainingError: memory ran out and nothing is left to give up.
        """
        if not is_out_of_memory(error):
            return False
        error.__traceback__ = None  # the frames hold what was allocated before it failed
        give_back()
        room = self.probe.look()
        short = replace(room, free_bytes=min(room.free_bytes, 0))
        on_device = isinstance(error, torch.OutOfMemoryError)
        what = "the GPU's memory" if on_device else "memory"
        why = f"{what} ran out while a batch was made; {room.text}"
        if self._step(loader, short, why, device_failed=on_device):
            return True
        raise TrainingError(
            f"Memory ran out while a batch was made, and loading holds no more than it must: "
            f"{room.text}. Lower loader.batch_size or use a smaller model, give the process more, "
            "or end other programs; resume=auto goes on from the last checkpoint."
        ) from error

    def _step(
        self, loader: Adjustable, room: Room, why: str, *, device_failed: bool = False
    ) -> bool:
        """Take the next step, if there is one."""
        plan = loader.plan
        if plan is None:
            return False
        state = replace(self._state(loader, plan, room), device_failed=device_failed)
        step = next_step(state)
        if step is None:
            return False
        self.has_stepped = self._just_stepped = True
        self._next_s = 0.0
        line = f"{why}; frees {size_text(step.frees_bytes)}"
        if step.kind is StepKind.cached:
            done = self._fall_back(loader, plan, room, why, step.frees_bytes)
            return done or self._step(loader, room, why)
        loader.change(altered(plan, step.shape, "memory.guard", room.text), line)
        return True

    def _state(self, loader: Adjustable, plan: LoaderPlan, room: Room) -> State:
        rows, rows_bytes = loader.dataset, 0
        if isinstance(rows, TensorDataset) and rows.mode is Mode.eager and self.fallback:
            rows_bytes = rows.rows.nbytes
        return State(
            shape=shape_of(plan),
            batch_bytes=plan.batch_bytes,
            missing_bytes=room.missing_bytes,
            rows_bytes=rows_bytes,
        )

    def _fall_back(
        self, loader: Adjustable, plan: LoaderPlan, room: Room, why: str, frees_bytes: int
    ) -> bool:
        """Put the rows on the disk; if that cannot be done, say why and do not try again."""
        rows, fallback = loader.dataset, self.fallback
        assert isinstance(rows, TensorDataset)
        assert fallback is not None
        if self.say:  # now: it takes a while, and what comes of it is told after
            self.say(f"memory: {why}: the rows go from RAM to the disk")
        try:
            moved = fallback(rows, room.is_address_space)
        except (ChirpError, OSError, MemoryError) as error:
            self.fallback = None
            if self.say:
                self.say(f"loader: mode eager stays, although {room.text}: {error}")
            return False
        kept, line = heap_free_bytes(), f"frees {size_text(frees_bytes)}"
        smaller = replace(plan, total_bytes=plan.total_bytes - frees_bytes)
        loader.change(smaller, line, dataset=moved)
        give_back()
        self.probe.reusable_bytes += max(0, heap_free_bytes() - kept)
        return True

    def _tell_once(self, room: Room) -> None:
        if self.say and not self._told:
            self.say(
                f"memory: {room.text}, and loading holds no more than it must. If it goes on, "
                "lower loader.batch_size, use a smaller model or give the process more"
            )
        self._told = True
