"""What the rules of all groups share."""

from __future__ import annotations

from chirpid.errors import ConfigError


def require(ok: bool, setting: str, value: object, rule: str) -> None:
    """Refuse a value that its rule does not allow."""
    if not ok:
        raise ConfigError(f"{setting}={value} is not allowed: {rule}.")
