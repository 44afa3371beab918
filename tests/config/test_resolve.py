from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from chirpid.config.resolve import NO_EFFECT_ON_RESULTS, plain_leaves, resolve, result_hash
from chirpid.config.schema import RootConfig
from chirpid.config.settings import all_settings, sections
from chirpid.config.store import compose, load
from chirpid.errors import ConfigError

ALL = sorted(all_settings())


@cache
def leaves() -> dict[str, Any]:
    return plain_leaves(OmegaConf.structured(RootConfig))


@pytest.mark.parametrize("key", ALL)
def test_the_hash_changes_exactly_when_results_can(key: str) -> None:
    before = leaves()
    after = {**before, key: "something else"}
    heads = {".".join(key.split(".")[:n]) for n in range(1, key.count(".") + 2)}
    assert (result_hash(before) == result_hash(after)) == bool(heads & NO_EFFECT_ON_RESULTS)


def test_all_names_left_out_of_the_hash_exist() -> None:
    assert {*ALL, *sections()} >= NO_EFFECT_ON_RESULTS


@given(st.permutations(ALL))
def test_the_hash_does_not_depend_on_the_order_of_settings(order: list[str]) -> None:
    before = leaves()
    assert result_hash({key: before[key] for key in order}) == result_hash(before)


def test_the_hash_is_the_same_for_any_way_of_loading() -> None:
    usual = compose().result_hash
    for overrides in (
        ["mode=lazy", "loader=aggressive", "hardware=rtx5080", "tracking=off", "name=other"],
        ["mode=eager", "loader.backend=threads", "loader.num_workers=2", "explain=true"],
        ["mode=streaming", "paths.outputs=elsewhere"],
    ):  # fmt: skip
        assert compose(overrides).result_hash == usual
    for overrides in (["seed=1"], ["augment=none"], ["mode.dtype=float32"], ["frontend=pcen"]):
        assert compose(overrides).result_hash != usual


def test_the_hash_counts_values_not_how_they_were_given() -> None:
    assert compose(["engine.epochs=20"]).result_hash == compose().result_hash
    assert compose(["augment=none"]).result_hash == compose(["augment=light", "augment.gain_db=0",
        "augment.time_shift_s=0", "augment.num_freq_masks=0", "augment.num_time_masks=0",
        "augment.freq_mask_bands=8", "augment.time_mask_s=0.5"]).result_hash  # fmt: skip


def test_a_saved_config_gives_the_same_settings_back(tmp_path: Path) -> None:
    before = compose(["experiment=small_data", "dataset.root=bïrds", "model.params.extra=[1,a]"])
    path = tmp_path / "config.yaml"
    path.write_text(before.yaml, encoding="utf-8")
    after = load(path)
    assert after.config == before.config
    assert after.yaml == before.yaml
    assert after.result_hash == before.result_hash
    assert set(after.sources.values()) == {str(path)}


def test_settings_are_resolved_from_a_plain_dictionary_too() -> None:
    resolved = resolve({"engine": {"epochs": 3}})
    assert resolved.config.engine.epochs == 3
    assert resolved.config.loader == RootConfig().loader
    with pytest.raises(ConfigError, match=r"Did you mean 'engine\.epochs'"):
        resolve({"engine": {"epoch": 3}})


def test_the_source_of_every_setting_is_known_and_the_last_writer_has_it(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\n"
        "defaults:\n  - override /mode: lazy\n"
        "engine: {epochs: 3, patience: 4}\nmodel: {params: {width: 8}}\n",
        encoding="utf-8",
    )
    overrides = ["experiment=mine", "engine.patience=5", "engine.selection=inner"]
    resolved = compose(overrides, config_dir=tmp_path)
    mine = str(tmp_path / "experiment" / "mine.yaml")
    expected = {
        "engine.epochs": mine,
        "engine.patience": "command line",
        "model.params.width": mine,
        "model.params.dropout": "conf/model/small_cnn.yaml",
        "mode.name": "conf/mode/lazy.yaml",
        "augment.gain_db": "conf/augment/light.yaml",
        "loader.batch_size": "default",
        "seed": "default",
    }
    assert {key: resolved.sources[key] for key in expected} == expected
    assert set(resolved.sources) >= set(ALL) - {"model.params"}
    assert resolved.overrides == tuple(overrides)
    assert (resolved.config.engine.epochs, resolved.config.engine.patience) == (3, 5)


@pytest.mark.parametrize("key", [key for key in ALL if all_settings()[key].is_free])
@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_a_free_mapping_takes_new_names_with_and_without_a_plus(key: str, plus: str) -> None:
    for override in (f"{plus}{key}.depth=3", f"{plus}{key}={{depth: 3}}"):
        resolved = compose([override])
        assert plain_leaves(OmegaConf.create(resolved.yaml))[f"{key}.depth"] == 3
        assert resolved.sources[f"{key}.depth"] == "command line"


PLACES = [
    "woods", "/data/my birds (2)", "s3://bucket/woods.v2", "http://host:8000/set", "C:\\sets\\",
    "/home/jörg/it's", "~/woods", "a=b", "#1",
]  # fmt: skip


def mix_of(*overrides: str) -> list[tuple[str, float]]:
    found = compose(["dataset=shards", *overrides]).config.dataset.mix
    return [(one.root, one.weight) for one in found]


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_sets_are_mixed_by_any_address_as_a_mapping(plus: str) -> None:
    wanted = [(place, 0.5 + number) for number, place in enumerate(PLACES)]
    pairs = ", ".join(f"{place}: {weight}" for place, weight in wanted)
    assert mix_of(f"{plus}dataset.mix={{{pairs}}}") == wanted
    quoted = ",".join(f'"{place}":{weight}' for place, weight in wanted)
    assert mix_of(f"{plus}dataset.mix={{{quoted}}}") == wanted


def test_sets_are_mixed_as_a_list_too_which_replaces_another(tmp_path: Path) -> None:
    text = "dataset.mix=[{root: s3://bucket/set, weight: 3}, {root: 'a, b: {c}'}]"
    assert mix_of(text) == [("s3://bucket/set", 3.0), ("a, b: {c}", 1.0)]
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndataset:\n  mix:\n  - {root: old, weight: 1}\n", encoding="utf-8"
    )
    usual = ["dataset=shards", "experiment=mine"]
    old = compose(usual, config_dir=tmp_path).config.dataset.mix
    new = compose([*usual, "dataset.mix={new: 2}"], config_dir=tmp_path).config.dataset.mix
    assert [one.root for one in old] == ["old"]
    assert [one.root for one in new] == ["new"]


def test_where_sets_lie_does_not_count_and_their_weights_do(tmp_path: Path) -> None:
    one, moved, other = (
        compose(["dataset=shards", f"dataset.mix={mix}"])
        for mix in ("{a: 1, b: 2}", "{s3://c/a: 1, /d/b: 2}", "{a: 2, b: 1}")
    )
    assert one.result_hash == moved.result_hash != other.result_hash
    path = tmp_path / "config.yaml"
    path.write_text(moved.yaml, encoding="utf-8")
    assert load(path).config == moved.config
    assert load(path).result_hash == moved.result_hash


@pytest.mark.parametrize(
    "text", ["/home/jörg/birds", "my birds (2)", "it's", "core == 1", 'a "b"', "[x", "a=b", "~/b"]
)
def test_text_needs_no_quotes_within_the_shells(text: str) -> None:
    config = compose(["dataset=csv", "dataset.root=x", f"dataset.filter={text}"]).config
    assert config.dataset.filter == text
