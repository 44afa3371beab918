"""Loaders in one line: `make_loader`, and `optimize_dataset` for what it is given."""

from __future__ import annotations

from typing import Any

import torch

from chirpid.data.general.adapt import Collation, adapt, is_stream
from chirpid.data.samplers import Sampler, SequentialSampler, ShuffledSampler
from chirpid.errors import ConfigError
from chirpid.loading.factory import Say
from chirpid.loading.factory import make_loader as loader_of
from chirpid.loading.universal.loader import UniversalLoader
from chirpid.loading.universal.planning import place_of, plan_for, wish_of


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
    device: str | torch.device | None = None,
    backend: str | None = None,
    num_workers: int | None = None,
    prefetch: int | None = None,
    start_method: str | None = None,
    pin_memory: bool | None = None,
    timeout_s: float = 120.0,
    say: Say | None = None,
) -> UniversalLoader:
    """Return batches of any dataset, made by whoever makes them soonest.

    Args:
        dataset: a map or iterable dataset of torch or of Hugging Face, tensors or arrays (alone,
            or as columns in a tuple or dict), a list of samples, a DataFrame, or one of ours.
        batch_size: samples a batch.
        shuffle: an order of its own for each epoch.
        hardware: `auto`, or a profile such as `rtx4090`.
        loader: how far to go: `safe`, `balanced`, `aggressive`, `device`, `auto`.
        seed: decides the order, and what samples draw from random generators.
        sampler: batches of your own, instead of `batch_size`, `shuffle` and `drop_last`.
        drop_last: leave out a last batch that is not full.
        collate: a name (`chirpid.collators.names()`), `auto` by what the samples are, or a
            function of a list of samples; None as torch's default does it.
        on_bad: `stop` at a sample that cannot be made, or `skip` and count it.
        device: where batches are to be; None leaves them where they are made, page-locked where
            there is a GPU.
        backend: `inline`, `threads`, `processes`, `device`; None for what suits the dataset.
        num_workers: threads or processes; None for what suits the machine.
        prefetch: batches that each of them is ahead.
        start_method: of processes: `fork`, `forkserver`, `spawn`.
        pin_memory: page-locked batches; None where there is a GPU.
        timeout_s: to wait for a batch of worker processes.
        say: told of what could not be had, in one line each; None prints a warning.

    Raises:
        ConfigError: a setting is not known or out of range.
        DataError: the dataset has no samples, or is none.
        BudgetError: not even two batches fit in the memory.
    """
    if is_stream(dataset):
        raise ConfigError("streams are on their way")
    if on_bad not in ("stop", "skip"):
        raise ConfigError(f"on_bad='{on_bad}' is not known. There are: stop, skip.")
    adapted = adapt(
        dataset, batch_size=batch_size, collate=collate, seed=seed, skips=on_bad == "skip"
    )
    if sampler is None:
        kind = ShuffledSampler if shuffle else SequentialSampler
        more = {"seed": seed} if shuffle else {}
        sampler = kind(adapted.id_N, batch_size, drop_last=drop_last, **more)
    wish = wish_of(
        loader, backend=backend, num_workers=num_workers, prefetch=prefetch,
        start_method=start_method, pin_memory=pin_memory,
    )  # fmt: skip
    place = place_of(hardware)
    plan = plan_for(adapted, batch_size=batch_size, place=place, wish=wish)
    to = torch.device(device) if device is not None else _usual_device()
    made = loader_of(adapted.source, plan, device=to, timeout_s=timeout_s, say=say)
    return UniversalLoader(
        adapted, made, sampler, batch_size=batch_size,
        device=None if device is None else to,
    )  # fmt: skip


def _usual_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
