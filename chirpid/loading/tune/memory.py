"""What a probe found, kept beside the caches, so that the next run need not ask again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chirpid.errors import StorageError
from chirpid.loading.tune.choose import TrialKey
from chirpid.loading.tune.costs import Costs
from chirpid.loading.tune.model import Measured
from chirpid.storage.atomic import write_text
from chirpid.types import Backend

VERSION = 4
"""Raised whenever a probe would find something else on the same machine."""
MAX_AGE_S = 30 * 24 * 3600.0
"""Drivers, disks and neighbours change: what is older is asked anew."""


@dataclass(slots=True)
class Found:
    """What a probe found."""

    costs: Costs
    trials: dict[TrialKey, Measured] = field(default_factory=dict)
    made_at: float = field(default_factory=time.time)


def probe_key(facts: Mapping[str, object]) -> str:
    """Return the name of a probe: a hash of the machine, the set and the settings."""
    text = json.dumps({"version": VERSION, **facts}, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()


def recall(folder: Path, key: str, *, now: float | None = None) -> Found | None:
    """Return what was found before; None if nothing was, or it is old, or cannot be read."""
    try:
        plain = json.loads((folder / f"{key}.json").read_text())
        if plain["version"] != VERSION:
            return None
        found = Found(
            costs=Costs.from_json(plain["costs"]),
            trials={_key(t): _measured(t) for t in plain["trials"]},
            made_at=float(plain["made_at"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    age_s = (time.time() if now is None else now) - found.made_at
    return found if 0 <= age_s <= MAX_AGE_S else None


def remember(folder: Path, key: str, found: Found, about: Mapping[str, object]) -> None:
    """Keep what was found. A folder that cannot be written to costs the next run a probe."""
    trials = [
        {
            "kept": key.kept,
            "backend": key.backend.value,
            "num_workers": key.num_workers,
            "prefetch": key.prefetch,
            "batch_s": measured.batch_s,
            "wait_share": measured.wait_share,
            "num_batches": measured.num_batches,
        }
        for key, measured in found.trials.items()
    ]
    plain = {
        "version": VERSION,
        "made_at": found.made_at,
        "about": dict(about),
        "costs": found.costs.as_json(),
        "trials": trials,
    }
    with contextlib.suppress(StorageError):
        write_text(folder / f"{key}.json", json.dumps(plain, indent=1, default=str) + "\n")


def forget(folder: Path, key: str) -> None:
    """Have the next run ask anew."""
    with contextlib.suppress(OSError):
        (folder / f"{key}.json").unlink(missing_ok=True)


def _key(plain: Mapping[str, Any]) -> TrialKey:
    return TrialKey(
        bool(plain["kept"]),
        Backend(plain["backend"]),
        int(plain["num_workers"]),
        int(plain["prefetch"]),
    )


def _measured(plain: Mapping[str, Any]) -> Measured:
    measured = Measured(
        float(plain["batch_s"]), float(plain["wait_share"]), int(plain["num_batches"])
    )
    if not (0 < measured.batch_s < 1e6 and 0 <= measured.wait_share <= 1):
        raise ValueError("no trial")
    return measured
