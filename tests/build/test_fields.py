"""Settings and the library's arguments of the same name are one truth.

The library may not know the settings, and OmegaConf reads a frozen dataclass as read-only, so the
names are written twice. Here they are held together: same name, same type, same default.
"""

from __future__ import annotations

import inspect
from dataclasses import MISSING, fields
from typing import Any, get_type_hints

import pytest

from chirpid.audio.augment import AugmentRule
from chirpid.audio.frontend import FrontEnd
from chirpid.audio.segment import SegmentRule
from chirpid.build.data import frontend_settings, segment_rule
from chirpid.build.fields import picked
from chirpid.build.plan import profile_of
from chirpid.build.train import train_rule
from chirpid.config.schema import RootConfig
from chirpid.data.modes import StoreOptions
from chirpid.engine.rule import TrainRule
from chirpid.loading.plan import Profile, Wish

CONFIG = RootConfig()
MADE: dict[type[Any], set[str]] = {
    # Bytes here, GiB there.
    Profile: {"ram_bytes", "gpu_bytes", "low_memory_bytes"},
    Wish: set(),
    SegmentRule: set(),
    AugmentRule: set(),
    # Other names or types there: optim.name, engine.checkpoint_minutes, mode.shard_segments,
    # loader.eval_batch_size with null, engine.selection as an enum, a group, the top level.
    TrainRule: {"optimiser", "checkpoint_s", "block_segments", "eval_batch_size", "selection",
                "augment", "seed", "mix"},
    # What build knows of paths, budgets, the plan and the machine.
    StoreOptions: {"cache_root", "cache_bytes", "ram_bytes", "num_threads", "share", "free_bytes"},
}  # fmt: skip
"""Fields that build makes from settings of other names or types."""
PAIRS = [
    (Profile, [CONFIG.hardware]),
    (Wish, [CONFIG.loader]),
    (SegmentRule, [CONFIG.segment]),
    (AugmentRule, [CONFIG.augment]),
    (TrainRule, [CONFIG.engine, CONFIG.optim, CONFIG.loader, CONFIG.mode]),
    (StoreOptions, [CONFIG.mode]),
]


@pytest.mark.parametrize(("kind", "groups"), PAIRS, ids=lambda one: getattr(one, "__name__", ""))
def test_each_field_is_a_setting_of_the_same_type_or_made_from_one(
    kind: type[Any], groups: list[Any]
) -> None:
    wanted, settings = get_type_hints(kind), {}
    for group in groups:
        settings |= get_type_hints(type(group))
    shared = {f.name for f in fields(kind)} - MADE[kind]
    assert {name: wanted[name] for name in shared} == {name: settings.get(name) for name in shared}


def test_default_settings_make_the_defaults_of_the_library() -> None:
    assert profile_of(CONFIG) == Profile()
    assert Wish(**picked(Wish, CONFIG.loader)) == Wish()
    assert segment_rule(CONFIG) == SegmentRule()
    assert train_rule(CONFIG) == TrainRule()
    stores = {f.name: f.default for f in fields(StoreOptions) if f.default is not MISSING}
    taken = picked(StoreOptions, CONFIG.mode)
    assert {name: taken[name] for name in stores.keys() & taken} == {"read": stores["read"]}


def test_the_front_end_has_the_defaults_of_its_settings() -> None:
    arguments = inspect.signature(FrontEnd).parameters
    settings = frontend_settings(CONFIG)
    assert set(settings) == set(arguments)
    own = {n: a.default for n, a in arguments.items() if a.default is not inspect.Parameter.empty}
    assert own == {name: settings[name] for name in own}
