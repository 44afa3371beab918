"""The settings of a hardware profile by its name, for who does without the rest of the config."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any


def hardware_settings(name: str) -> dict[str, Any]:
    """Return the settings of the group `hardware` of one of its options.

    Raises:
        ConfigError: there is no such option.
    """
    from chirpid.config.store import compose  # it brings Hydra, which takes its time

    return asdict(compose([f"hardware={name}"]).config.hardware)
