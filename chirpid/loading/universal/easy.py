"""Loaders in one line: `make_loader`."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Subset

from chirpid.data.collate import collators
from chirpid.data.general.adapt import Adapted, Collation, is_stream, reads_in_blocks
from chirpid.data.general.adapt import adapt as adapted_by
from chirpid.data.general.windows import StreamRule
from chirpid.data.samplers import Sampler, SequentialSampler, ShuffledSampler
from chirpid.data.samplers.checks import whole
from chirpid.errors import ConfigError
from chirpid.loading.factory import Say
from chirpid.loading.factory import make_loader as loader_of
from chirpid.loading.memory import MemoryGuard
from chirpid.loading.universal.adapting import adapter_of
from chirpid.loading.universal.base import AnyLoader
from chirpid.loading.universal.loader import UniversalLoader
from chirpid.loading.universal.placed import Placed, comes_twice
from chirpid.loading.universal.planning import one_of, place_of, plan_for, wish_of
from chirpid.loading.universal.stream_ways import TIMEOUT_S, check_timeout, way_of_stream
from chirpid.loading.universal.streams import StreamLoader
from chirpid.types import IntArray, OnBad

STREAM_WINDOW = 1024


def make_loader(
    dataset: Any,
    batch_size: int = 64,
    shuffle: bool = True,
    hardware: str = "auto",
    loader: str = "auto",
    seed: int = 0,
    *,
    sampler: Sampler | None = None,
    drop_last: bool = False,
    collate: Collation = None,
    on_bad: str = "stop",
    window: int = STREAM_WINDOW,
    device: str | torch.device | None = None,
    backend: str | None = None,
    num_workers: int | None = None,
    prefetch: int | None = None,
    start_method: str | None = None,
    pin_memory: bool | None = None,
    timeout_s: float = TIMEOUT_S,
    adapt: bool = False,
    say: Say | None = None,
) -> AnyLoader:
    """Return batches of any dataset, made by whoever makes them soonest.

    Args:
        dataset: a map or iterable dataset of torch or of Hugging Face, tensors or arrays (alone,
            or as columns in a tuple or dict), a list of samples, a DataFrame, or one of ours.
        batch_size: samples a batch.
        shuffle: an order of its own for each epoch; of a stream, within windows.
        hardware: `auto`, or a profile such as `rtx4090`.
        loader: how far to go: `safe`, `balanced`, `aggressive`, `device`, `auto`.
        seed: decides the order, and what samples draw from random generators.
        sampler: batches of your own, instead of `batch_size`, `shuffle` and `drop_last`. Of a
            `Subset` its ids count within that.
        drop_last: leave out a last batch that is not full.
        collate: a name that `chirpid.collators` knows, `auto` by what the samples are, or a
            function of a list of samples; None as torch's default does it.
        on_bad: `stop` at a sample that cannot be made, or `skip` and count it.
        window: samples of a stream that are kept in memory to shuffle them.
        device: where batches are to be; None leaves them where they are made, page-locked where
            there is a GPU.
        backend: `inline`, `threads`, `processes`, `device`; None for what suits the dataset.
        num_workers: threads or processes; None for what suits the machine.
        prefetch: batches that each of them is ahead.
        start_method: of processes: `fork`, `forkserver`, `spawn`.
        pin_memory: page-locked batches; None where there is a GPU.
        timeout_s: to wait for a batch of worker processes; of a stream, for each of a window.
        adapt: change workers and prefetch after a whole pass whose figures ask for it; what does
            not help is taken back. A `backend` that is named stays.
        say: told in a line of each change, and of each thing that could not be had; None logs it.

    Raises:
        ConfigError: a setting is not known or out of range, or has no meaning for the dataset.
        DataError: the dataset has no samples, or is none.
        BudgetError: not even two batches fit in the memory.
    """
    say = say or logging.getLogger("chirpid").warning
    _check_no_loader(dataset)
    whole("seed", seed, least=0)
    check_timeout(timeout_s)
    wish = wish_of(
        loader, backend=backend, num_workers=num_workers, prefetch=prefetch,
        start_method=start_method, pin_memory=pin_memory,
    )  # fmt: skip
    skips = one_of(OnBad, "on_bad", on_bad) is OnBad.skip
    to = None if device is None else _device(device)
    if is_stream(dataset):
        _check_stream(sampler, skips, backend)
        if adapt:
            say("adapt true -> false: a stream is read by as many as num_workers says")
        rule = StreamRule(batch_size, window if shuffle else 1, seed, drop_last)
        way = way_of_stream(wish, hardware=hardware, timeout_s=timeout_s, device=to, say=say)
        return StreamLoader(dataset, rule, collate=_named(collate), way=way, device=to, say=say)
    whole("batch_size", batch_size)
    _check_sampler(sampler)
    adapted = adapted_by(dataset, batch_size=batch_size, collate=collate, seed=seed, skips=skips)
    sampler, places = _order(
        dataset, adapted, sampler, batch_size, shuffle, drop_last=drop_last, seed=seed
    )
    place = place_of(hardware, "auto" if to is None else to.type)
    first = adapted.id_N[:batch_size]
    if reads_in_blocks(dataset):
        first = next(iter(sampler.batches(0)), first)
    plan = plan_for(adapted, first, batch_size=batch_size, place=place, wish=wish)
    for line in plan.clamps:
        say(line)
    on = to or _usual_device()
    made = loader_of(
        adapted.source, plan, device=on, timeout_s=timeout_s, say=say, guard=MemoryGuard(say=say)
    )
    part = dataset if isinstance(dataset, Subset) else None
    adapter = None
    if adapt:
        adapter = adapter_of(made, plan, place=place, wish=wish, device=on, say=say)
    return UniversalLoader(
        adapted, made, sampler, batch_size=batch_size, device=to, places=places, part=part,
        adapter=adapter,
    )  # fmt: skip


def _order(
    dataset: Any,
    adapted: Adapted,
    sampler: Sampler | None,
    batch_size: int,
    shuffle: bool,
    *,
    drop_last: bool,
    seed: int,
) -> tuple[Sampler, IntArray | None]:
    """Return the batches, and the samples that their ids stand for; None for themselves."""
    items, places = adapted.id_N, adapted.places
    is_placed = places is not None and comes_twice(places)
    if sampler is not None and not is_placed:
        return sampler, places
    if sampler is None and shuffle and reads_in_blocks(dataset):
        return dataset.sampler(batch_size, seed=seed, drop_last=drop_last), None
    if is_placed:
        items = np.arange(len(adapted))
    if sampler is None and shuffle:
        sampler = ShuffledSampler(items, batch_size, drop_last=drop_last, seed=seed)
    elif sampler is None:
        sampler = SequentialSampler(items, batch_size, drop_last=drop_last)
    return Placed(sampler, adapted.id_N) if is_placed else sampler, None


def _usual_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _device(device: str | torch.device) -> torch.device:
    """Return where batches are to be.

    Raises:
        ConfigError: torch knows no such device, or it is not here.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ConfigError(
            f"device={device!r} is none that torch knows. Use 'cpu', 'cuda' or one such as "
            "'cuda:1', or leave it out."
        ) from error
    if found.type == "cuda" and (found.index or 0) >= (num := torch.cuda.device_count()):
        raise ConfigError(f"device='{device}': there are {num} GPUs here. Leave device out.")
    return found


def _check_no_loader(dataset: object) -> None:
    if isinstance(dataset, DataLoader | AnyLoader):
        raise ConfigError(
            f"{type(dataset).__name__} makes batches already, and batches of batches would come of "
            "it. Give its dataset."
        )


def _check_sampler(sampler: object) -> None:
    if sampler is not None and not isinstance(sampler, Sampler):
        raise ConfigError(
            f"sampler is a {type(sampler).__name__}. Give one of chirpid.data.samplers; for a "
            "DataLoader with a sampler of torch, UniversalDataModule.of takes its module."
        )


def _check_stream(sampler: Sampler | None, skips: bool, backend: str | None) -> None:
    """Refuse what has no meaning for samples that have no number."""
    for given, name, why in (
        (sampler is not None, "sampler", "its samples have no numbers to choose by"),
        (skips, "on_bad='skip'", "one that fails has ended; let it leave out bad samples itself"),
        (backend not in (None, "auto", "inline", "processes"), f"backend='{backend}'",
         "it is read in the calling thread, or by num_workers processes"),
    ):  # fmt: skip
        if given:
            raise ConfigError(f"{name} has no meaning for a stream: {why}. Leave it out.")


def _named(collate: Collation) -> Any:
    if collate == "auto":
        raise ConfigError(
            "collate='auto' has to see a sample first. Name the collator of a stream."
        )
    return collators.make(collate) if isinstance(collate, str) else collate
