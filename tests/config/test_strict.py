# ruff: noqa: E501 - a case a line reads as the table it is
from __future__ import annotations

from pathlib import Path

import pytest

from chirpid.config.store import compose, load
from chirpid.errors import ConfigError

REFUSED = {
    "loader.num_worker=4": "Unknown setting 'loader.num_worker'. Did you mean 'loader.num_workers'? Settings here: policy, ",
    "+loader.num_worker=4": "Did you mean 'loader.num_workers'?",
    "++loader.num_worker=4": "Did you mean 'loader.num_workers'?",
    "+num_workers=4": "Did you mean 'loader.num_workers'?",
    "epochs=5": "Did you mean 'engine.epochs'?",
    "mod=lazy": "Unknown setting 'mod'. Did you mean 'mode'?",
    "mode.name.first=x": "'mode.name' is a single value with nothing below it.",
    "memory=3": "Unknown setting 'memory': it is a group. Settings there: fraction, budget_gib, guard.",
    "memory={fractoin: 0.5}": "Did you mean 'memory.fraction'?",
    "mode=lzy": "mode has no option 'lzy'. Did you mean 'lazy'? Options: cached, eager, lazy, streaming.",
    "experiment=smal_data": "Did you mean 'small_data'?",
    "loader={num_workers: 4}": "loader is a group. Give its settings one by one",
    "+experiment=small_data": "drop the plus",
    "foo/bar=3": "There is no group 'foo/bar'.",
    "mode@model=lazy": "packages (@) have no use here",
    "loader.batch_size=abc": "loader.batch_size=abc is not allowed: it takes a whole number.",
    "loader.batch_size=2.5": "loader.batch_size=2.5 is not allowed: it takes a whole number.",
    "loader.batch_size=null": "it takes a whole number.",
    "loader.drop_last=perhaps": "it takes true or false.",
    "mode.keep=spectrograms": "it takes one of spectrogram, waveform. Did you mean 'spectrogram'?",
    "cv.folds=3": "it takes a list like [0,1] or null.",
    "cv.folds=[a]": "it takes a list like [0,1] or null.",
    "optim.lr=fast": "it takes a number.",
    "model.parms={depth: 3}": "Did you mean 'model.params'?",
    "++model.parms={depth: 3}": "Did you mean 'model.params'?",
    "model.params=3": "it takes a mapping like {a: 1}.",
    "dataset.mx={woods: 1}": "Did you mean 'dataset.mix'?",
    "+dataset.mx={woods: 1}": "Did you mean 'dataset.mix'?",
    "dataset.mix=woods": "dataset.mix=woods is not allowed: it takes a list like [{root: text, weight: a number}].",
    "dataset.mix={woods: often}": "it takes a list like [{root: text, weight: a number}].",
    "dataset.mix=[{root: woods, wieght: 1}]": "it takes a list like [{root: text, weight: a number}].",
    "dataset.mix={woods}": "Cannot read 'dataset.mix={woods}'.",
    "dataset.mix.woods=1": "'dataset.mix' takes a list like [{root: text, weight: a number}].",
    "dataset.mix={a: 1},{b: 1}": "gives several values. Add -m to run one job for each.",
    "optim.lr=nan": "optim.lr=nan is not allowed",
    "segment.duration_s=inf": "segment.duration_s=inf is not allowed: it is a finite number.",
    "optim.lr=-1": "optim.lr=-1.0 is not allowed: more than 0.",
    "cv.num_folds=(3": "Cannot read 'cv.num_folds=(3'. Quote values",
    "seed": "Cannot read 'seed'. Settings are given as name=value",
    "cv.folds=[1,": "Cannot read 'cv.folds=[1,'.",
    "mode=lazy,eager": "gives several values. Add -m to run one job for each.",
    "loader.batch_size=16,32": "Add -m to run one job for each",
    "~mode": "settings cannot be removed",
    "~optim.clip_norm": "settings cannot be removed",
    "~optim.clipnorm": "Did you mean 'optim.clip_norm'?",
    "engine.epochs=${epoch_count}": "Interpolation key 'epoch_count' not found",
    "hydra/launcher=rocket": "hydra/launcher has no option 'rocket'.",
}  # fmt: skip


@pytest.mark.parametrize("override", REFUSED)
def test_what_does_not_exist_is_refused_in_one_line(override: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose([override])
    assert REFUSED[override] in str(caught.value)
    assert "\n" not in caught.value.line()
    assert "hydra.cc" not in caught.value.line()


def options(folder: Path, name: str, text: str) -> list[str]:
    path = folder / f"{name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return [f"{path.parent.name}={path.stem}"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_worker: 3\n", "Unknown setting 'loader.num_worker' in {path}. Did you mean"),
        ("batch_size: many\n", "loader.batch_size=many in {path} is not allowed"),
        ("batch_size: [3\n", "{path}, line 2 is not valid YAML"),
        ("- 3\n", "{path} holds no settings"),
        ("defaults:\n  - nowhere\n", "nowhere"),
    ],
)
def test_a_fault_in_a_users_file_is_told_with_the_file(
    tmp_path: Path, text: str, message: str
) -> None:
    overrides = options(tmp_path, "loader/mine", text)
    with pytest.raises(ConfigError) as caught:
        compose(overrides, config_dir=tmp_path)
    assert message.format(path=tmp_path / "loader" / "mine.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_experiment_that_asks_for_a_missing_option_is_named(tmp_path: Path) -> None:
    text = "# @package _global_\ndefaults:\n  - override /mode: lzy\n"
    overrides = options(tmp_path, "experiment/mine", text)
    with pytest.raises(ConfigError, match=r"mode has no option 'lzy'. Did you mean 'lazy'\?"):
        compose(overrides, config_dir=tmp_path)


def test_a_group_below_the_wrong_folder_is_set_right(tmp_path: Path) -> None:
    text = "# @package _global_\ndefaults:\n  - mode: lazy\n"
    overrides = options(tmp_path, "experiment/mine", text)
    with pytest.raises(ConfigError, match=r"experiment/mine.yaml: .* 'override /mode: lazy'"):
        compose(overrides, config_dir=tmp_path)


def test_a_bare_off_in_yaml_is_explained(tmp_path: Path) -> None:
    overrides = options(tmp_path, "tracking/mine", "kind: off\n")
    with pytest.raises(ConfigError, match='Write "off" with quotes'):
        compose(overrides, config_dir=tmp_path)


def test_a_config_dir_may_not_redefine_what_is_built_in(tmp_path: Path) -> None:
    overrides = options(tmp_path, "mode/lazy", "name: eager\n")
    with pytest.raises(ConfigError, match="has the name of a built-in option"):
        compose(overrides, config_dir=tmp_path)


def test_a_config_dir_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a folder"):
        compose(config_dir=tmp_path / "nothing")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("loader: {num_worker: 3}\n", "Did you mean 'loader.num_workers'?"),
        ("a: [", "is not valid YAML"),
        ("- 1\n", "holds no settings"),
        (None, "There is no file"),
    ],
)
def test_a_saved_config_is_read_as_strictly(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
