from __future__ import annotations

import os
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from chirpid.config.paths import cache_dir, conf_dir, outputs_dir, user_path
from chirpid.config.schema import DatasetKind, PathsConfig, RootConfig
from chirpid.config.store import compose, compose_raw, options_of

OPTIONS = sorted(
    f"{path.parent.name}={path.stem}"
    for path in conf_dir().glob("*/*.yaml")
    if path.parent.name not in ("local", "hparams_search")
)
NEEDS = {
    "loader=device": ["mode=eager"],
    "model=custom": ["model.target=my_models.Net"],
    "cv=predefined": ["dataset=csv", "dataset.root=birds", "dataset.fold_column=fold"],
}
NAMED_LIKE_THEIR_OPTION = {
    "hardware": "name", "dataset": "name", "mode": "name", "augment": "name", "model": "name",
    "optim": "name", "frontend": "kind", "cv": "kind", "tracking": "kind", "loader": "policy",
}  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
def test_every_option_composes_into_valid_settings(option: str) -> None:
    needs = NEEDS.get(option, [])
    if option.startswith(("dataset=", "experiment=")) and option != "dataset=demo":
        needs = ["dataset.root=birds"]
    resolved = compose([option, *needs])
    assert isinstance(resolved.config, RootConfig)
    group, name = option.split("=")
    if group in NAMED_LIKE_THEIR_OPTION:
        chosen = getattr(resolved.config, group)
        assert str(getattr(chosen, NAMED_LIKE_THEIR_OPTION[group])) == name


@pytest.mark.parametrize(
    "option", sorted(path.stem for path in (conf_dir() / "hparams_search").glob("*.yaml"))
)
def test_every_search_asks_for_a_sweep_by_itself(option: str) -> None:
    assert compose_raw([f"hparams_search={option}"]).asks_for_sweep
    assert not compose_raw([]).asks_for_sweep


def test_the_groups_have_the_options_that_are_promised() -> None:
    promised = {
        "hardware": "a100 auto cpu h100 h200 laptop rtx4090 rtx5080 workstation",
        "mode": "cached eager lazy streaming",
        "frontend": "logmel pcen",
        "augment": "light none strong",
        "loader": "aggressive auto balanced device safe",
        "model": "custom resnet small_cnn",
        "cv": "grouped_kfold holdout predefined",
        "tracking": "mlflow off",
    }
    assert {group: " ".join(options_of(group)) for group in promised} == promised


def test_nothing_given_trains_on_the_demo_birds() -> None:
    config = compose().config
    assert config.dataset.kind is DatasetKind.demo
    assert (config.hardware.name, config.mode.name.value) == ("auto", "cached")
    assert (config.augment.name, config.model.name) == ("light", "small_cnn")


def test_rtx5080_carries_its_known_good_numbers() -> None:
    hardware = compose(["hardware=rtx5080"]).config.hardware
    assert (hardware.num_cores, hardware.gpu_memory_gib) == (32, 16)
    assert (hardware.num_workers_heavy, hardware.prefetch_heavy) == (8, 4)
    assert (hardware.num_workers_light, hardware.prefetch_light) == (12, 6)
    assert (hardware.small_set_samples, hardware.max_workers_small) == (1000, 4)
    assert (hardware.large_set_samples, hardware.extra_workers_large) == (10000, 2)
    assert hardware.max_workers == 16
    assert hardware.pin_memory
    assert hardware.persistent_workers


def test_auto_hardware_takes_three_quarters_of_the_cores_and_two_workers_when_memory_is_low() -> (
    None
):
    hardware = compose(["hardware=auto"]).config.hardware
    assert hardware.num_cores is None
    assert hardware.core_fraction == 0.75
    assert (hardware.low_memory_gib, hardware.max_workers_low_memory) == (4.0, 2)


def test_composing_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    compose(["mode=lazy"])
    assert Path.cwd() == tmp_path
    assert os.listdir(tmp_path) == []
    assert not GlobalHydra.instance().is_initialized()


def test_relative_paths_are_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert user_path("a/b") == tmp_path / "a" / "b"
    assert user_path("/a") == Path("/a")
    assert user_path("~/a") == tmp_path / "home" / "a"
    assert outputs_dir(PathsConfig()) == tmp_path / "outputs"
    assert cache_dir(PathsConfig(outputs="o")) == tmp_path / "o" / "cache"
    assert cache_dir(PathsConfig(cache="c")) == tmp_path / "c"


def test_local_settings_yield_to_an_experiment_and_to_the_command_line(tmp_path: Path) -> None:
    for name, text in {
        "local/default": "# @package _global_\nengine: {epochs: 3, patience: 4}\nseed: 7\n",
        "experiment/mine": "# @package _global_\nengine: {epochs: 5, patience: 6}\n",
    }.items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    if (conf_dir() / "local" / "default.yaml").is_file():
        pytest.skip("this checkout has local settings of its own")
    overrides = ["experiment=mine", "engine.patience=8", "engine.selection=inner"]
    resolved = compose(overrides, config_dir=tmp_path)
    assert resolved.config.seed == 7
    assert (resolved.config.engine.epochs, resolved.config.engine.patience) == (5, 8)
    assert resolved.sources["seed"] == str(tmp_path / "local" / "default.yaml")


@pytest.mark.parametrize(
    ("overrides", "is_given"),
    [
        ([], False),
        (["mode=cached"], True),  # the default, but somebody chose it
        (["mode.name=cached"], True),
        (["mode=lazy"], True),
        (["loader=auto"], False),
        (["dataset=shards", "dataset.root=birds"], True),  # which takes mode=streaming
        (["experiment=small_data", "dataset.root=birds"], False),
    ],
)
def test_it_is_known_whether_somebody_chose_a_value(overrides: list[str], is_given: bool) -> None:
    assert ("mode.name" in compose(overrides).given) is is_given
