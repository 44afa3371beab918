"""From a composed config to checked settings, their text, their hash and their origin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from chirpid.config.rules import check_rules, unused_settings
from chirpid.config.schema import RootConfig
from chirpid.config.settings import flatten
from chirpid.config.strict import check_layer, in_one_line
from chirpid.errors import ConfigError

DEFAULT = "default"
COMMAND_LINE = "command line"

NO_EFFECT_ON_RESULTS = frozenset(
    {
        # Names and what happens around a run.
        "name", "explain", "resume", "metric", "hardware", "memory", "tracking", "paths",
        "dataset.name", "augment.name", "model.name",
        # Where recordings lie. Their content counts, and is hashed where it is read.
        "dataset.root", "dataset.storage_options",
        # Every mode and backend delivers the same batches; dtype and order stay in the hash.
        "mode.name", "mode.cache_gib",
        "loader.policy", "loader.backend", "loader.num_workers", "loader.prefetch",
        "loader.pin_memory", "loader.persistent_workers", "loader.start_method",
        "loader.timeout_s", "loader.probe_s", "loader.adapt",
        # When checkpoints are written.
        "engine.checkpoint_minutes",
    }
)  # fmt: skip
"""Settings and whole groups left out of `Resolved.result_hash`. When in doubt a setting is in:
device, threads, mixed precision and batch sizes change the last bits, so they count."""


@dataclass(frozen=True, slots=True)
class SweepInfo:
    """Which job of which sweep this is."""

    id: str
    """Name of the sweep, the same for all its jobs."""
    job: int
    """Number of this job, from 0."""
    num_jobs: int | None
    """None when the sweeper does not know in advance."""
    overrides: tuple[str, ...]
    """What this job was given on top of the config, as on a command line."""
    name: str = ""
    """The overrides that set this job apart from the others."""


@dataclass(frozen=True, slots=True)
class Resolved:
    """Settings that passed every rule, and all that is known about them."""

    config: RootConfig
    yaml: str
    """The whole config; `chirpid.config.store.load` reads it back."""
    result_hash: str
    """16 hex digits over the settings that can change results, and over nothing else."""
    sources: dict[str, str]
    """Origin of each setting: "default", a file such as "conf/mode/lazy.yaml", "command line"."""
    overrides: tuple[str, ...] = ()
    """The command line."""
    notes: tuple[str, ...] = ()
    """Settings that were asked for and have no effect here, one line each."""
    given: frozenset[str] = frozenset()
    """Settings whose value somebody chose, even if it is the default."""


def resolve(
    cfg: DictConfig | Mapping[str, Any],
    sources: Mapping[str, str] | None = None,
    overrides: Sequence[str] = (),
    chosen: frozenset[str] | None = None,
) -> Resolved:
    """Return the checked settings of a composed config (without Hydra's own node).

    Args:
        cfg: all settings or some; the rest take their defaults.
        sources: origin of keys that are not defaults, as `provenance.origins` finds them; whoever
            knows the origins has checked keys and types where they stand.
        overrides: the command line, kept as it is.
        chosen: keys whose value somebody chose; None: all in `cfg`.
    Raises:
        ConfigError: unknown setting, wrong type, out of range, or at odds with another.
    """
    given = cfg if isinstance(cfg, DictConfig) else OmegaConf.create(dict(cfg))
    named = cast("dict[str, Any]", OmegaConf.to_container(given, enum_to_str=True))
    if sources is None:
        check_layer(named, "")
    structured, config = _to_config(given)
    check_rules(config)
    plain = plain_leaves(structured)
    known = sources or {}
    origin = {key: known.get(key, DEFAULT) for key in plain}
    return Resolved(
        config=config,
        yaml=OmegaConf.to_yaml(structured),
        result_hash=result_hash(plain),
        sources=origin,
        overrides=tuple(overrides),
        notes=tuple(unused_settings(config, origin)),
        given=frozenset(flatten(named)) if chosen is None else chosen,
    )


def plain_leaves(structured: DictConfig) -> dict[str, Any]:
    """Return every setting as dotted key and plain value (enums by name)."""
    container = OmegaConf.to_container(structured, resolve=True, enum_to_str=True)
    return flatten(cast("dict[str, Any]", container))


def result_hash(plain: Mapping[str, Any]) -> str:
    """Return a hash of the settings that can change results; see NO_EFFECT_ON_RESULTS."""
    kept = {key: _counted(key, value) for key, value in plain.items() if not _left_out(key)}
    text = json.dumps(kept, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _to_config(given: DictConfig) -> tuple[DictConfig, RootConfig]:
    # Making the dataclasses runs their __post_init__, the rules of single groups.
    try:
        merged = OmegaConf.merge(OmegaConf.structured(RootConfig), given)
        return cast(DictConfig, merged), cast(RootConfig, OmegaConf.to_object(merged))
    except OmegaConfBaseException as error:
        raise ConfigError(in_one_line(error)) from error


def _counted(key: str, value: Any) -> Any:
    # Where the sets lie does not count, as with dataset.root.
    is_mix = key == "dataset.mix" and isinstance(value, list)
    return [one["weight"] for one in value] if is_mix else value


def _left_out(key: str) -> bool:
    parts = key.split(".")
    return any(".".join(parts[:n]) in NO_EFFECT_ON_RESULTS for n in range(1, len(parts) + 1))
