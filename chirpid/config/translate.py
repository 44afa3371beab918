"""Hydra's and OmegaConf's complaints, said in one line."""

from __future__ import annotations

import re

from hydra.errors import MissingConfigException
from yaml import YAMLError

from chirpid.config.overrides import unknown_option
from chirpid.config.settings import sections
from chirpid.config.strict import in_one_line, not_yaml
from chirpid.errors import ConfigError


def as_config_error(error: Exception) -> ConfigError:
    """Return the error as one that a user can act on; a ConfigError stays as it is."""
    if isinstance(error, ConfigError):
        return error
    if isinstance(error, YAMLError):
        return ConfigError(not_yaml("A config file", error))
    if isinstance(error, MissingConfigException) and error.options is not None:
        return ConfigError(_missing(error))
    cause = error.__cause__
    return ConfigError(_tidy(in_one_line(cause if not str(error) and cause else error)))


def _missing(error: MissingConfigException) -> str:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    asked_in = re.match(r"In '([^']+)'", str(error))
    where = "" if asked_in is None or "config" in asked_in[1] else f"In {asked_in[1]}.yaml: "
    top = group.rpartition("/")[2]
    if "/" in group and top in sections():
        # Defaults lists look below the folder that they stand in, which nobody means here.
        return f"{where}there is no group '{group}'. Write it as 'override /{top}: {name}'."
    return where + unknown_option(group, name, list(error.options or ()))


def _tidy(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
