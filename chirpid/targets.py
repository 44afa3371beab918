"""Functions and classes that a setting names by a dotted path."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chirpid.errors import ConfigError


def find_target(target: str, *, setting: str, form: str, kind: str) -> Callable[..., Any]:
    """Return what lies at a dotted path; modules in the user's folder are found, too.

    Args:
        setting: the name of the setting that holds `target`.
        form: how such a path looks: "package.module.Class".
        kind: what is wanted, with its article: "a class or function".
    Raises:
        ConfigError: there is no such module, nothing of the name in it, or nothing to call.
    """
    module, _, name = target.rpartition(".")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # last: a file of the user's must not stand in for a library
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"{setting}={target} cannot be imported: {error}. Give {form}, "
            "from the folder you are in or from PYTHONPATH."
        ) from error
    if not callable(found):
        raise ConfigError(f"{setting}={target} is not {kind}.")
    return found  # type: ignore[no-any-return]
