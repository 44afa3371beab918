"""Where the config tree lies, and where outputs go. Relative paths mean the user's folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import chirpid
from chirpid.errors import ConfigError

if TYPE_CHECKING:
    from chirpid.config.schema import PathsConfig  # imports numpy, and --help has no time for it


def conf_dir() -> Path:
    """Return the folder of the built-in config tree: inside the wheel, else beside a checkout.

    Raises:
        ConfigError: the installation holds no config tree.
    """
    package = Path(chirpid.__file__).resolve().parent
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError(
        f"No config tree in {package / 'conf'} or {package.parent / 'conf'}. Reinstall chirpid."
    )


def user_path(text: str) -> Path:
    """Return `text` as an absolute path, relative to the folder the user is in; `~` is expanded."""
    return Path.cwd() / Path(text).expanduser()


def outputs_dir(paths: PathsConfig) -> Path:
    """Return the folder that all outputs lie below."""
    return user_path(paths.outputs)


def cache_dir(paths: PathsConfig) -> Path:
    """Return the folder of caches, checked recordings and demo sets."""
    return user_path(paths.cache) if paths.cache else outputs_dir(paths) / "cache"
