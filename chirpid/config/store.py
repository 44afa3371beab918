"""Composition of the config tree through Hydra, without argv, log set-up or working folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

# Hydra has no public way to compose without its process-wide state; pinned below 1.4 for this.
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import ConfigSearchPath, SearchPathQuery
from hydra.core.config_store import ConfigStore
from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from hydra.types import RunMode
from hydra.version import setbase
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from chirpid.config.overrides import check_overrides, parse_overrides, tidy_overrides
from chirpid.config.paths import conf_dir
from chirpid.config.provenance import Layer, check_layers, given, layers_of, origins
from chirpid.config.resolve import Resolved, resolve
from chirpid.config.schema import RootConfig
from chirpid.config.settings import flatten
from chirpid.config.strict import check_layer, read_yaml
from chirpid.config.translate import as_config_error
from chirpid.errors import ConfigError

CONFIG_NAME = "config"


@dataclass(frozen=True, slots=True)
class Composed:
    """What Hydra composed from the tree and the overrides."""

    settings: DictConfig
    """Ours, without Hydra's own node."""
    hydra: DictConfig
    layers: tuple[Layer, ...]
    overrides: tuple[str, ...]
    loader: ConfigLoaderImpl

    @property
    def asks_for_sweep(self) -> bool:
        """True when an option such as hparams_search=grid sets hydra.mode=MULTIRUN."""
        return OmegaConf.select(self.hydra, "mode") is RunMode.MULTIRUN

    def resolve(self) -> Resolved:
        """Return the checked settings; see `resolve.resolve`."""
        chosen = given(self.layers)
        return resolve(self.settings, origins(self.layers), self.overrides, chosen)


def register_schema() -> None:
    """Make the dataclasses known to Hydra under the name that conf/config.yaml starts from."""
    ConfigStore.instance().store(name="schema", node=RootConfig, provider="chirpid")


def search_path(config_dir: Path | None = None) -> ConfigSearchPath:
    """Return where options are looked up: the built-in tree, then the user's own.

    Raises:
        ConfigError: `config_dir` is no folder, or redefines a built-in option.
    """
    register_schema()
    setup_globals()
    built_in = conf_dir()
    path = create_config_search_path(str(built_in))
    if config_dir is not None:
        _check_config_dir(config_dir, built_in)
        path.prepend("command-line", f"file://{config_dir.resolve()}", SearchPathQuery("schema"))
    return path


def compose(overrides: Sequence[str] = (), *, config_dir: Path | None = None) -> Resolved:
    """Return the settings that a command line would give; for tests and notebooks.

    Args:
        overrides: as on a command line: `["dataset=csv", "engine.epochs=5"]`.
        config_dir: folder with further options, laid out like conf/.
    Raises:
        ConfigError: one line on what is wrong and where.
    """
    return compose_raw(overrides, config_dir=config_dir).resolve()


def compose_raw(
    overrides: Sequence[str] = (), *, config_dir: Path | None = None, sweep: bool = False
) -> Composed:
    """Return the composed config before the rules between settings are checked.

    Args:
        sweep: overrides may hold several values; such settings keep what the tree gives.
    Raises:
        ConfigError: unknown setting or option, wrong type, or an override that cannot be read.
    """
    setbase("1.3")
    try:
        loader = ConfigLoaderImpl(search_path(config_dir))
        mode = RunMode.MULTIRUN if sweep else RunMode.RUN
        given = tidy_overrides(overrides)
        parsed = parse_overrides(given, loader, sweep=sweep)
        check_overrides(parsed, loader)
        if sweep:
            given = [text for text, one in zip(given, parsed, strict=True)
                     if not one.is_sweep_override()]  # fmt: skip
        layers = layers_of(loader, CONFIG_NAME, given)
        check_layers(layers)
        config = loader.load_configuration(CONFIG_NAME, given, run_mode=mode)
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        raise as_config_error(error) from error
    hydra = cast(DictConfig, config.hydra)
    return Composed(without_hydra(config), hydra, layers, tuple(overrides), loader)


def without_hydra(config: DictConfig) -> DictConfig:
    """Return our settings of a composed config, interpolations resolved.

    Raises:
        ConfigError: an interpolation that leads nowhere.
    """
    try:
        content = cast("dict[str, Any]", OmegaConf.to_container(config, enum_to_str=True))
        ours = OmegaConf.create({key: value for key, value in content.items() if key != "hydra"})
        OmegaConf.resolve(ours)
    except OmegaConfBaseException as error:
        raise as_config_error(error) from error
    return ours


def load(path: Path) -> Resolved:
    """Return the settings of a `config.yaml` that a run folder holds.

    Raises:
        ConfigError: no such file, not YAML, or settings that this version does not know.
    """
    content = read_yaml(path)
    check_layer(content, str(path))
    return resolve(content, dict.fromkeys(flatten(content), str(path)))


def options_of(group: str, *, config_dir: Path | None = None) -> list[str]:
    """Return the names of the options of a group, sorted."""
    return ConfigLoaderImpl(search_path(config_dir)).get_group_options(group)


def _check_config_dir(config_dir: Path, built_in: Path) -> None:
    if not config_dir.is_dir():
        raise ConfigError(f"--config-dir {config_dir} is not a folder.")
    for path in sorted(config_dir.rglob("*.yaml")):
        relative = path.relative_to(config_dir)
        if (built_in / relative).is_file() and config_dir.resolve() != built_in:
            # Hydra would take the built-in one without a word.
            raise ConfigError(f"{path} has the name of a built-in option. Rename it.")
