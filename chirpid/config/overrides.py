"""Overrides of a command line: read, and refused when they name nothing that exists."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Sequence
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException

from chirpid.config.settings import all_settings, sections
from chirpid.config.strict import check_layer, is_known, unknown_setting
from chirpid.errors import ConfigError, did_you_mean

OPTIONAL_GROUPS = ("experiment", "hparams_search", "debug", "local")


def parse_overrides(
    overrides: Sequence[str], loader: ConfigLoader, *, sweep: bool
) -> list[Override]:
    """Return the overrides as Hydra reads them, one for each text.

    Raises:
        ConfigError: cannot be read, or gives several values where only a sweep may.
    """
    return [_parse(text, loader, sweep) for text in overrides]


def check_overrides(overrides: Sequence[Override], loader: ConfigLoader) -> None:
    """Refuse unknown groups, options and settings, also behind `+`, `++` and `~`.

    Raises:
        ConfigError: the first override that is wrong.
    """
    groups = loader.list_groups("")
    for override in overrides:
        if not override.is_hydra_override():
            _check(override, groups, loader)


def tidy_overrides(overrides: Sequence[str]) -> list[str]:
    """Return the overrides as Hydra's grammar wants them, where a user should not have to know it.

    - Text is quoted where it must be: dataset.root=/home/jörg/my birds.
    - model.params and the like may take new names. Hydra closes every mapping and asks for `+`;
      the names there are checked by the class that they go to.
    - A list of pairs may be given as {first: second, ...}: dataset.mix={woods: 0.7, shore: 0.3}.
      Hydra takes neither quotes nor ':' in the keys of a mapping, and addresses have them.
    """
    return [_tidy(text) for text in overrides]


def _tidy(text: str) -> str:
    plus, name, equals, value = _PARTS.fullmatch(text).groups()  # type: ignore[union-attr]
    setting = all_settings().get(name)
    if setting is None or setting.is_free:
        return f"++{text}" if not plus and "~" not in name and is_known(name) else text
    if equals and setting.item is not None:
        return f"{plus}{name}={_as_list(value, setting.item)}"
    if equals and not plus and setting.is_text and not _is_readable(text):
        return f"{name}={_quoted(value)}"
    return text


_PARTS = re.compile(r"(\+*)([^=]*)(=?)(.*)", re.DOTALL)
_PAIRS = re.compile(r"\{([^{}]*)\}")


def _as_list(value: str, item: type) -> str:
    """Return mappings like {a: 1, b: 2} as lists of items; other values, and faults, as they are.

    What stands before the last colon is the first field: it may hold others, as s3://a does.
    """
    if re.fullmatch(rf"\s*{_PAIRS.pattern}(\s*,\s*{_PAIRS.pattern})*\s*", value) is None:
        return value
    first, second = (field.name for field in dataclasses.fields(item))
    lists = []
    for content in _PAIRS.findall(value):
        pairs = [pair.rpartition(":") for pair in content.split(",") if pair.strip()]
        if not all(colon and rest.strip() for _, colon, rest in pairs):
            return value
        items = [
            f"{{{first}: {_quoted(_bare(text))}, {second}: {rest.strip()}}}"
            for text, _, rest in pairs
        ]
        lists.append(f"[{', '.join(items)}]")
    return ",".join(lists)


def _bare(text: str) -> str:
    text = text.strip()
    is_quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if is_quoted else text


def _quoted(text: str) -> str:
    """Return text as Hydra reads it back: backslashes count before quotes only."""
    escaped = re.sub(r"(\\*)('|$)", lambda m: m[1] * 2 + ("\\'" if m[2] else ""), text)
    return f"'{escaped}'"


def _is_readable(text: str) -> bool:
    try:
        OverridesParser.create().parse_overrides([text])
    except HydraException:
        return False
    return True


def values_of(override: Override) -> list[Any]:
    """Return the value of an override, or all values of one that sweeps over a list or range."""
    if override.is_discrete_sweep():
        return list(override.sweep_iterator())
    return [] if override.is_sweep_override() else [override.value()]


def _parse(text: str, loader: ConfigLoader, sweep: bool) -> Override:
    try:
        override = OverridesParser.create(loader).parse_overrides([text])[0]
    except HydraException as error:
        raise ConfigError(_unreadable(text)) from error
    if override.is_sweep_override() and not sweep:
        raise ConfigError(_several_values(text, override))
    return override


def _several_values(text: str, override: Override) -> str:
    key, _, value = text.partition("=")
    message = f"{text} gives several values. Add -m to run one job for each"
    setting = all_settings().get(override.key_or_group)
    if setting is None or setting.choices or setting.item:
        return f"{message}."
    return f"{message}, or write {key}=[{value}] for a list, \"{key}='{value}'\" for text."


def _unreadable(text: str) -> str:
    key, equals, value = text.partition("=")
    if not equals:
        return f"Cannot read '{text}'. Settings are given as name=value, groups as group=option."
    return f"Cannot read '{text}'. Quote values with blanks or special signs: \"{key}='{value}'\"."


def _check(override: Override, groups: list[str], loader: ConfigLoader) -> None:
    key = override.key_or_group
    if override.package is not None:
        raise ConfigError(f"'{override.input_line}': packages (@) have no use here. Use {key}=....")
    if override.is_delete():
        _check_delete(override, groups)
    elif key in groups or "/" in key:
        _check_choice(override, groups, loader)
    else:
        for value in values_of(override):
            check_layer({key: value}, "")
        if not values_of(override) and key not in all_settings():
            raise ConfigError(unknown_setting(key))


def _check_delete(override: Override, groups: list[str]) -> None:
    key = override.key_or_group
    if key in OPTIONAL_GROUPS:
        return
    if key in groups or key in all_settings() or key in sections():
        raise ConfigError(f"'{override.input_line}': settings cannot be removed. Give a value.")
    raise ConfigError(unknown_setting(key))


def _check_choice(override: Override, groups: list[str], loader: ConfigLoader) -> None:
    key = override.key_or_group
    options = loader.get_group_options(key)
    if not options and key not in groups:
        raise ConfigError(f"There is no group '{key}'.{did_you_mean(key, groups)}")
    if (override.is_add() or override.is_force_add()) and key in groups:
        raise ConfigError(f"'{override.input_line}': drop the plus, {key} is a group as it is.")
    for name in _names(override):
        if isinstance(name, dict):
            raise ConfigError(f"{key} is a group. Give its settings one by one: {key}.name=value.")
        if name is not None and str(name) not in options:
            raise ConfigError(unknown_option(key, str(name), options))


def _names(override: Override) -> Iterator[Any]:
    for value in values_of(override):
        yield from value if isinstance(value, list) else [value]


def unknown_option(group: str, name: str, options: Sequence[str]) -> str:
    """Return the message for an option that a group does not have."""
    near = did_you_mean(name, list(options))
    known = ", ".join(options) or "none yet"
    return f"{group} has no option '{name}'.{near} Options: {known}."
