"""Refusal of settings that do not exist or have the wrong type, naming the file they stand in."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from chirpid.config.schema import RootConfig
from chirpid.config.settings import (
    Setting,
    all_settings,
    describe_type,
    flatten,
    sections,
    siblings,
)
from chirpid.errors import ConfigError, did_you_mean


def check_layer(content: Mapping[str, Any], where: str) -> None:
    """Refuse unknown keys and wrong types in the settings of one file or one override.

    Args:
        content: settings, nested or with dotted keys.
        where: file or "" for the command line, told in the message.
    Raises:
        ConfigError: the first fault found.
    """
    for key, value in flatten(content).items():
        if is_known(key):
            check_type(key, value, where)
        elif not (key in sections() and value == {}):
            raise ConfigError(unknown_setting(key, where))


def is_known(key: str) -> bool:
    """Return whether `key` is a setting, or lies in a free mapping such as model.params."""
    return key in all_settings() or _free_above(key) is not None


def check_type(key: str, value: object, where: str) -> None:
    """Refuse a value that the schema cannot take for the setting `key`.

    Raises:
        ConfigError: says the value, the setting and what it takes.
    """
    setting = all_settings().get(key)
    if setting is None or (isinstance(value, str) and "${" in value):
        return
    try:
        # Mappings become the items of a typed list only where they are merged into it.
        OmegaConf.update(_scratch(), key, value, merge=setting.item is not None)
    except OmegaConfBaseException as error:
        raise ConfigError(_wrong_type(setting, value, where)) from error


def unknown_setting(key: str, where: str = "") -> str:
    """Return the message for a key that is no setting, with the closest one and its siblings."""
    message = f"Unknown setting '{key}'{_in(where)}."
    if above := _setting_above(key):
        if all_settings()[above].item is not None:
            takes = describe_type(all_settings()[above].annotation)
            return f"{message} '{above}' takes {takes}."
        return f"{message} '{above}' is a single value with nothing below it."
    if key in sections():
        return f"{message[:-1]}: it is a group. Settings there: {', '.join(siblings(key))}."
    section = _section_above(key)
    message += _closest(key, section)
    label = "Settings here" if section else "Settings and groups"
    return f"{message} {label}: {', '.join(siblings(section))}."


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the content of a YAML file of settings.

    Raises:
        ConfigError: missing, unreadable, not YAML, or not a mapping.
    """
    try:
        content = OmegaConf.to_container(OmegaConf.load(path))
    except FileNotFoundError:
        raise ConfigError(f"There is no file {path}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(not_yaml(path, error)) from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds no settings: it should read like 'name: value'.")
    return {str(key): value for key, value in content.items()}


def not_yaml(path: Path | str, error: Exception) -> str:
    """Return one line on why a file cannot be read as YAML, with the line number if known."""
    mark = getattr(error, "problem_mark", None)
    line = f", line {mark.line + 1}" if mark is not None else ""
    reason = getattr(error, "problem", None) or in_one_line(error)
    return f"{path}{line} is not valid YAML: {reason}."


def in_one_line(error: BaseException) -> str:
    """Return the first line of an error's message, without OmegaConf's further details."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    key = getattr(error, "full_key", None)
    text = lines[0] if lines else type(error).__name__
    return f"{key}: {text}" if key and key not in text else text


@cache
def _scratch() -> DictConfig:
    return cast(DictConfig, OmegaConf.structured(RootConfig))


def _wrong_type(setting: Setting, value: object, where: str) -> str:
    message = (
        f"{setting.key}={value}{_in(where)} is not allowed: it takes "
        f"{describe_type(setting.annotation)}."
    )
    if setting.choices and isinstance(value, bool) and "off" in setting.choices:
        return f'{message} Write "off" with quotes: YAML reads a bare off as false.'
    return message + (did_you_mean(str(value), setting.choices) if setting.choices else "")


def _in(where: str) -> str:
    return f" in {where}" if where else ""


def _free_above(key: str) -> Setting | None:
    above = all_settings().get(_setting_above(key) or "")
    return above if above is not None and above.is_free else None


def _setting_above(key: str) -> str | None:
    parts = key.split(".")
    heads = (".".join(parts[:n]) for n in range(1, len(parts)))
    return next((head for head in heads if head in all_settings()), None)


def _section_above(key: str) -> str:
    parts = key.split(".")
    heads = (".".join(parts[:n]) for n in range(len(parts) - 1, 0, -1))
    return next((head for head in heads if head in sections()), "")


def _closest(key: str, section: str) -> str:
    prefix = f"{section}." if section else ""
    near = did_you_mean(key, [f"{prefix}{name}" for name in siblings(section)])
    last = key.rsplit(".", 1)[-1]
    elsewhere = [known for known in all_settings() if known.rsplit(".", 1)[-1] == last]
    if not near and elsewhere:
        return f" Did you mean '{elsewhere[0]}'?"
    return near or did_you_mean(key, list(all_settings())) or _closest_name(last)


def _closest_name(last: str) -> str:
    by_name = {known.rsplit(".", 1)[-1]: known for known in reversed(all_settings())}
    hint = did_you_mean(last, list(by_name))
    return f" Did you mean '{by_name[hint.split(chr(39))[1]]}'?" if hint else ""
