"""Items of a dataset that cannot be used: all named in one pass, then refused or counted."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from chirpid.data.labels import counted
from chirpid.errors import ConfigError, DataError
from chirpid.types import OnBad

SHOWN_ITEMS = 20
SHOWN_NAMES = 3


class BadItem(NamedTuple):
    """Why one item cannot be used."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


class Oddity(NamedTuple):
    """Something that is worth a word about an item that is used all the same."""

    kind: str
    """What is odd, in words that are the same for all items it concerns."""
    name: str


def on_bad_of(on_bad: OnBad | str) -> OnBad:
    """Return the choice.

    Raises:
        ConfigError: there is no such choice.
    """
    try:
        return OnBad(on_bad)
    except ValueError:
        raise ConfigError(f"on_bad={on_bad!r} is unknown. Choose stop or skip.") from None


def stop_or_note(bad: Sequence[BadItem], num_all: int, noun: str, on_bad: OnBad) -> list[str]:
    """Return notes on what is left out.

    Args:
        num_all: items that were looked at; `noun` says what one is.
    Raises:
        DataError: there are bad items and `on_bad` is stop, or no other item is left.
    """
    if not bad:
        return []
    of_all = f"{len(bad)} of {counted(num_all, noun)} cannot be used"
    shown = [f"  {item}" for item in bad[:SHOWN_ITEMS]]
    if len(bad) > SHOWN_ITEMS:
        shown.append(f"  ... and {len(bad) - SHOWN_ITEMS} more.")
    if on_bad is OnBad.stop:
        todo = "Mend or remove them, or set on_bad='skip' to go on without them."
        raise DataError("\n".join([f"{of_all}. {todo}", *shown]))
    if len(bad) >= num_all:
        raise DataError("\n".join([f"{of_all}, so none is left.", *shown]))
    some = "; ".join(str(item) for item in bad[:SHOWN_NAMES])
    return [f"{of_all} and are left out: {some}{'; ...' if len(bad) > SHOWN_NAMES else '.'}"]


def notes_on(oddities: Iterable[Oddity], noun: str) -> list[str]:
    """Return a note for each kind, with how many items it concerns and the names of some."""
    names: dict[str, list[str]] = defaultdict(list)
    for oddity in oddities:
        names[oddity.kind].append(oddity.name)
    return [
        f"{kind}: {counted(len(of_kind), noun)}, such as {', '.join(of_kind[:SHOWN_NAMES])}."
        for kind, of_kind in sorted(names.items())
    ]
