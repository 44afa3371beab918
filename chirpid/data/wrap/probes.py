"""What the samples of a dataset are, and whether they are the same each time, by some of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NoReturn

from chirpid.data.general import generators
from chirpid.data.general.protocols import MapDataset
from chirpid.data.general.trees import Tree
from chirpid.data.wrap.forms import Form, form_of
from chirpid.data.wrap.samples import differ, kept
from chirpid.errors import ConfigError


def look_at(dataset: MapDataset, *, may_draw: bool) -> Form | None:
    """Return what the first, the middle and the last sample are; None if they differ in shape.

    The generators of `random`, numpy and torch are left as they were.

    Args:
        may_draw: samples may be others each time.

    Raises:
        ConfigError: samples draw random numbers, or differ each time, and may not.
    """
    num, samples, drawn = len(dataset), list[Any](), list[list[str]]()
    with generators.put_back():
        for index in dict.fromkeys([0, num // 2, num - 1] if num else []):
            again: list[Any] = []
            try:
                for _ in range(1 if samples or may_draw else 2):
                    before = generators.states()
                    again.append(dataset[index])
                    drawn.append(before.drawn(generators.states()))
            except Exception:  # noqa: BLE001 - raised when this very sample is asked for
                continue
            samples.append(again[0])
            if len(again) > 1 and _differ(*again):
                _refuse(dataset, drawn[-1] or ["a generator of its own"])
    if not may_draw:
        _check_drawn(dataset, drawn)
    return form_of(*samples) if samples else None


def _check_drawn(dataset: MapDataset, drawn: list[list[str]]) -> None:
    """Refuse what was drawn from twice in a row: once may have been another thread."""
    for first, second in pairwise(drawn):
        both = [name for name in first if name in second]
        if both:
            _refuse(dataset, both)


def _differ(sample: Tree, again: Tree) -> bool:
    try:
        return differ(kept(sample)[0], kept(again)[0])
    except Exception:  # noqa: BLE001 - what cannot be pickled is not kept either
        return False


def _refuse(dataset: MapDataset, drawn: list[str]) -> NoReturn:
    raise ConfigError(
        f"What is kept would be one draw of every sample for ever: {type(dataset).__name__} draws "
        f"random numbers from {', '.join(drawn)}. Draw afterwards, or pass freeze=True if one draw "
        "is what you want."
    )
