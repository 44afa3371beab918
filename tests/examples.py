"""How many examples a property is tried with: a number that its test gives, by the profile."""

from __future__ import annotations

from hypothesis import settings


def examples(num_short: int) -> int:
    """Return `num_short` in the usual profile, and in another one as many times as that is longer.

    A bare `max_examples=N` would hold for every profile.
    """
    usual = settings.get_profile("short").max_examples
    return max(1, num_short * settings.default.max_examples // usual)
