"""What a sampler's batches depend on, as one line that people can compare."""

from __future__ import annotations

import hashlib
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from chirpid.errors import ConfigError


def settings_text(value: Any) -> str:
    """Return a value with all its fields; of an array, its type, its shape and a hash.

    Raises:
        ConfigError: an object is neither a plain value nor a dataclass, so it has no fields.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        content = np.ascontiguousarray(value)
        digest = hashlib.blake2b(content.tobytes(), digest_size=8).hexdigest()
        return f"{value.dtype}{list(value.shape)}:{digest}"
    if is_dataclass(value) and not isinstance(value, type):
        inner = (f"{f.name}={settings_text(getattr(value, f.name))}" for f in fields(value))
        return f"{type(value).__name__}({', '.join(inner)})"
    if isinstance(value, tuple):
        return f"({', '.join(map(settings_text, value))})"
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    raise ConfigError(
        f"{type(value).__name__} tells no settings, and a state must name them. "
        "Make it a dataclass, or give it a method fingerprint()."
    )
