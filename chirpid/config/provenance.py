"""Where each value came from: the files that were composed, in order, then the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override
from hydra.plugins.config_source import ConfigSource
from hydra.types import RunMode
from omegaconf import OmegaConf
from yaml import YAMLError

from chirpid.config.paths import conf_dir
from chirpid.config.resolve import COMMAND_LINE
from chirpid.config.settings import flatten
from chirpid.config.strict import check_layer, not_yaml
from chirpid.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings that one file or the command line gives."""

    where: str
    """"conf/mode/lazy.yaml", or "command line"."""
    content: Mapping[str, Any]
    """Dotted key to value."""
    chosen: bool = True
    """False for what the tree takes if nobody says anything."""


def layers_of(
    loader: ConfigLoaderImpl, config_name: str, overrides: Sequence[str]
) -> tuple[Layer, ...]:
    """Return the layers that a config is composed of, weakest first; later ones win.

    Raises:
        ConfigError: a file is not YAML.
        HydraException: an option that does not exist, or a defaults list that Hydra refuses.
    """
    try:
        defaults = loader.compute_defaults_list(config_name, list(overrides), RunMode.RUN)
    except YAMLError as error:
        raise ConfigError(not_yaml(_file_of(error), error)) from error
    by_name = set(defaults.overrides.override_choices)  # on the command line, or in an option
    files = [
        _file_layer(
            loader,
            str(default.config_path),
            default.package or "",
            chosen=default.override_key in by_name,
        )
        for default in defaults.defaults
        if not _is_hydras_own(default.config_path)
    ]
    line = [_line_layer(override) for override in defaults.config_overrides]
    return (*files, *line)


def check_layers(layers: Sequence[Layer]) -> None:
    """Refuse unknown settings and wrong types, naming the file.

    Raises:
        ConfigError: the first fault found.
    """
    for layer in layers:
        check_layer(layer.content, "" if layer.where == COMMAND_LINE else layer.where)


def origins(layers: Sequence[Layer]) -> dict[str, str]:
    """Return for each key that any layer gives the name of the last one that does."""
    return {key: layer.where for layer in layers for key in layer.content}


def given(layers: Sequence[Layer]) -> frozenset[str]:
    """Return the keys whose value somebody chose: on the command line, in an option that was
    named, or in a file of the user's own."""
    last = {key: layer for layer in layers for key in layer.content}
    return frozenset(key for key, layer in last.items() if layer.chosen)


def _is_hydras_own(config_path: str | None) -> bool:
    return config_path is None or config_path == "schema" or config_path.startswith("hydra/")


def _file_layer(loader: ConfigLoaderImpl, config_path: str, package: str, *, chosen: bool) -> Layer:
    result = loader.repository.load_config(config_path)
    if result is None:
        return Layer(config_path, {})
    content = OmegaConf.to_container(result.config, enum_to_str=True)
    where = _name_of(_source(loader, config_path), config_path)
    if not isinstance(content, dict):
        raise ConfigError(f"{where} holds no settings: it should read like 'name: value'.")
    ours = {
        str(key): value
        for key, value in content.items()
        if key != "defaults" and (package or key != "hydra")
    }
    own = chosen or not where.startswith("conf/") or where.startswith("conf/local/")
    return Layer(where, flatten(ours, f"{package}." if package else ""), own)


def _line_layer(override: Override) -> Layer:
    if override.is_hydra_override() or override.is_delete():
        return Layer(COMMAND_LINE, {})
    return Layer(COMMAND_LINE, flatten({override.key_or_group: override.value()}))


def _source(loader: ConfigLoaderImpl, config_path: str) -> ConfigSource | None:
    return next((one for one in loader.get_sources() if one.is_config(config_path)), None)


def _name_of(source: ConfigSource | None, config_path: str) -> str:
    name = config_path if config_path.endswith(".yaml") else f"{config_path}.yaml"
    if source is None or source.scheme() != "file":
        return config_path
    folder = Path(source.path)
    return f"conf/{name}" if folder == conf_dir() else str(_near(folder / name))


def _near(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def _file_of(error: YAMLError) -> str:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return str(_near(Path(cast(str, mark.name)))) if mark is not None else "a config file"
