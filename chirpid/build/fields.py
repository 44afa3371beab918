"""Settings and arguments of the same name."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


def picked(kind: type[Any], settings: object, **more: Any) -> dict[str, Any]:
    """Return the settings whose names are fields of `kind`, and `more`."""
    names = {f.name for f in fields(kind)}
    taken = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name in names}  # type: ignore[arg-type]
    return {**taken, **more}
