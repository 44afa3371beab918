"""Hydra's and OmegaConf's complaints, said in one line."""

from __future__ import annotations

import re

from hydra.errors import MissingConfigException
from yaml import YAMLError

from chirpid.config.overrides import unknown_option
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
    where = f" (asked for in conf/{asked_in[1]}.yaml)" if asked_in else ""
    if asked_in is not None and asked_in[1] == "config":
        where = ""
    return unknown_option(group, name, list(error.options or ())) + where


def _tidy(text: str) -> str:
    return text if text.endswith((".", "?", "!")) else f"{text}."
