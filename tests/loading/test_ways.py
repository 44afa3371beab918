"""What is advised can be typed behind the command of the run, and is what was predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chirpid.config.rules import check_rules
from chirpid.config.schema import DatasetKind, MixedSet, RootConfig
from chirpid.errors import ConfigError
from chirpid.loading.tune.choose import Limits, candidates, held_bytes
from chirpid.loading.tune.model import Setting
from chirpid.loading.ways import Ways, overrides_of, raised_budgets
from chirpid.types import Backend, Mode, Policy
from tests.examples import examples
from tests.loading.test_advice import WORK

DATASETS = {
    "demo": RootConfig().dataset,
    "shards": replace(RootConfig().dataset, kind=DatasetKind.shards, root="somewhere"),
    "mix": replace(RootConfig().dataset, kind=DatasetKind.shards, mix=[MixedSet(root="one")]),
}
KINDS = {"policy": Policy, "backend": Backend, "num_workers": int, "prefetch": int}
ALL = Limits(max_workers=2, device_bytes=2**40, backends=tuple(
    one for one in Backend if one is not Backend.auto
))  # fmt: skip


def typed(dataset: str, words: Sequence[str]) -> RootConfig | None:
    """Return the settings that a command comes to; None if they are refused.

    What options of groups set is done by hand: to compose each command would take minutes.
    """
    config = RootConfig(dataset=DATASETS[dataset])
    for word in words:
        name, _, value = word.partition("=")
        if name == "mode":
            config = replace(config, mode=replace(config.mode, name=Mode(value)))
        else:
            setting = name.removeprefix("loader.")
            loader = replace(config.loader, **{setting: KINDS[setting](value)})
            config = replace(config, loader=loader)
    try:
        check_rules(config)
    except ConfigError:
        return None
    return config


@settings(max_examples=examples(150))
@given(
    dataset=st.sampled_from(sorted(DATASETS)), mode=st.sampled_from(list(Mode)),
    policy=st.sampled_from(["balanced", "auto", "device"]),
    backend=st.sampled_from(list(Backend)), num_workers=st.sampled_from([None, 0, 2, 3]),
    prefetch=st.sampled_from([None, 2, 5]), ran=st.sampled_from(["as asked", "inline", "two"]),
    data=st.data(),
)  # fmt: skip
def test_every_way_can_be_typed_behind_every_command(
    dataset: str, mode: Mode, policy: str, backend: Backend, num_workers: int | None,
    prefetch: int | None, ran: str, data: st.DataObject,
) -> None:  # fmt: skip
    numbers = {"loader.num_workers": num_workers, "loader.prefetch": prefetch}
    named = {name: value for name, value in numbers.items() if value is not None}
    if backend is not Backend.auto:
        named["loader.backend"] = backend.value  # type: ignore[assignment]
    command = [f"mode={mode.value}", f"loader.policy={policy}",
               *(f"{name}={value}" for name, value in named.items())]  # fmt: skip
    assume(typed(dataset, command) is not None)
    now = as_it_ran(mode, backend, ran)
    limits = replace(ALL, modes=(mode,) if dataset != "demo" else tuple(dict.fromkeys(
        (Mode.cached, Mode.eager, Mode.lazy, mode)
    )))  # fmt: skip
    then = data.draw(st.sampled_from(candidates(WORK, limits)))
    asked = Setting(mode, now.backend if backend is Backend.auto else backend,
                    now.num_workers if num_workers is None else num_workers,
                    now.prefetch if prefetch is None else prefetch)  # fmt: skip
    ways = Ways(limits=limits, asked=asked, fixed=tuple(named), picks_itself=policy == "auto",
                is_for_device=policy == "device")  # fmt: skip
    words = overrides_of(now, then, ways)
    config = typed(dataset, [*command, *words])
    assert config is not None, words
    assert config.mode.name is then.mode
    is_free = then.mode is mode or policy == "auto"  # then the rest is as it was, or is picked
    assert config.loader.backend is then.backend or (is_free and "loader.backend" not in named)
    if then.num_workers:
        found = (config.loader.num_workers, config.loader.prefetch)
        wanted = (then.num_workers, then.prefetch)
        assert all(a == b or (a is None and is_free) for a, b in zip(found, wanted, strict=True))


def as_it_ran(mode: Mode, backend: Backend, ran: str) -> Setting:
    """Return the setting that a command came to, which the machine may have clamped."""
    if ran == "inline" or backend is Backend.inline:
        return Setting(mode, Backend.inline)
    if backend is Backend.device:
        return Setting(mode, Backend.device)
    workers = Backend.threads if backend is Backend.auto else backend
    return Setting(mode, workers, 2 if ran == "two" else 1, 2)


@pytest.mark.parametrize("mode", list(Mode))
def test_a_raised_budget_holds_rows_windows_and_the_larger_batch(mode: Mode) -> None:
    work = replace(WORK, eval_batch_bytes=3 * WORK.batch_bytes, window_bytes=7_000_000)
    then = Setting(mode, Backend.threads, 2, 2)
    held = {Mode.eager: WORK.store_bytes, Mode.streaming: 7_000_000}.get(mode, 0)
    assert held_bytes(then, work) >= held + 4 * 3 * WORK.batch_bytes
    (word,) = raised_budgets(then, work, Ways(limits=Limits(ram_bytes=WORK.batch_bytes)))
    name, _, size = word.partition("=")
    assert name == "memory.budget_gib"
    assert float(size) * 2**30 >= held_bytes(then, work)


def test_a_window_and_large_batches_of_validation_count_where_settings_are_chosen() -> None:
    limits = Limits(modes=(Mode.streaming, Mode.lazy), max_workers=2, ram_bytes=20_000_000)
    assert {one.mode for one in candidates(WORK, limits)} == {Mode.streaming, Mode.lazy}
    windowed = replace(WORK, window_bytes=16_000_000)
    assert {one.mode for one in candidates(windowed, limits)} == {Mode.lazy}
    assert candidates(replace(WORK, eval_batch_bytes=11_000_000), limits) == []
