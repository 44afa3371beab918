"""How many examples a property is tried with: a number that its test gives, by the profile."""

from __future__ import annotations

import os

from hypothesis import settings

USUAL = 50
"""Half of hypothesis's own number keeps the suite short: HYPOTHESIS_PROFILE=long takes ten times
as many."""

# Here and not in conftest.py: a program that imports a single test has the profiles, too.
# No deadline: how long an example takes is up to what else the machine does.
settings.register_profile("short", max_examples=USUAL, deadline=None)
settings.register_profile("long", max_examples=10 * USUAL, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "short"))


def examples(num_short: int) -> int:
    """Return `num_short` in the usual profile, and in another one as many times as that is longer.

    A bare `max_examples=N` would hold for every profile.
    """
    return max(1, num_short * settings.default.max_examples // USUAL)
