"""What the samples of a dataset are, and whether they are the same each time, by some of them."""

from __future__ import annotations

from functools import partial
from typing import Any, NoReturn

from chirpid.data.general.protocols import MapDataset
from chirpid.data.general.trees import Tree
from chirpid.data.wrap.forms import Form, form_of
from chirpid.data.wrap.randomness import Draws
from chirpid.data.wrap.samples import differ, kept
from chirpid.errors import ConfigError


def look_at(dataset: MapDataset, *, may_draw: bool) -> Form | None:
    """Return what the first, the middle and the last sample are; None if they differ in shape.

    Args:
        may_draw: samples may be others each time.

    Raises:
        ConfigError: samples draw random numbers, or differ each time, and may not.
    """
    num, draws, samples = len(dataset), Draws(), list[Any]()
    for index in dict.fromkeys([0, num // 2, num - 1] if num else []):
        ask = partial(draws.watch, partial(dataset.__getitem__, index))
        try:
            sample = ask()
            again = ask() if not samples and not may_draw else sample
        except Exception:  # noqa: BLE001 - raised when this very sample is asked for
            continue
        if again is not sample and _differ(sample, again):
            _refuse(dataset, "differ each time that they are asked for")
        samples.append(sample)
    if draws.by is not None and not may_draw:
        _refuse(dataset, f"draw from the random generator of {draws.by}")
    return form_of(*samples) if samples else None


def _differ(sample: Tree, again: Tree) -> bool:
    try:
        return differ(kept(sample)[0], kept(again)[0])
    except Exception:  # noqa: BLE001 - what cannot be pickled is not kept either
        return False


def _refuse(dataset: MapDataset, why: str) -> NoReturn:
    raise ConfigError(
        f"Samples of {type(dataset).__name__} {why}, and a cache would repeat the first for ever. "
        "Put what is random behind the cache, or set freeze=True."
    )
