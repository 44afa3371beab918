"""Settings that name one of a few choices."""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

from chirpid.errors import ConfigError, did_you_mean

Choice = TypeVar("Choice", bound=StrEnum)


def chosen(choices: type[Choice], name: str, value: str) -> Choice:
    """Return the member of an enum that a text names.

    Raises:
        ConfigError: it names none.
    """
    try:
        return choices(value)
    except ValueError:
        known = [str(choice) for choice in choices]
        raise ConfigError(
            f"{name}={value!r} is unknown.{did_you_mean(str(value), known)} "
            f"Choices: {', '.join(known)}."
        ) from None
