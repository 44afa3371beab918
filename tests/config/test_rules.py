# ruff: noqa: E501 - a case a line reads as the table it is
from __future__ import annotations

from functools import cache

import pytest

from chirpid.config.rules import RULES, UNUSED
from chirpid.config.store import compose
from chirpid.errors import ConfigError

CSV = ["dataset=csv", "dataset.root=birds"]

# Overrides that break a rule, and what the message then names: the setting, and the way out.
BROKEN: list[tuple[list[str], str, str]] = [
    (["name=a/b"], "name='a/b'", "no slash"),
    (["name=' '"], "name=' '", "letters or digits"),
    (["model=custom"], "model=custom needs model.target", "dotted name of your class"),
    (["engine.device=gpu"], "engine.device=gpu", "cuda:<number>"),
    (["dataset.root=birds"], "makes its own synthetic birds", "dataset=csv"),
    (["dataset.filter='core == 1'"], "makes its own synthetic birds", "dataset=csv"),
    (["dataset.kind=folder", "dataset.root=x", "dataset.filter='a == 1'"], "dataset.filter needs", "Use dataset=csv"),
    (["dataset=shards", "dataset.root=x", "mode=lazy"], "mode=lazy decodes recordings", "Use mode=streaming"),
    (["dataset.mix={x: 1}"], "dataset.mix draws from sets of shards", "chirpid shard"),
    (["dataset=shards", "dataset.root=x", "dataset.mix={x: 1}"], "dataset.root and dataset.mix are both set", "dataset.mix alone"),
    (["dataset=shards", "dataset.mix={x: 0}"], "The weight of 'x' in dataset.mix is 0.0", "above 0"),
    (["dataset=shards", "dataset.mix={x: 1, y: inf}"], "The weight of 'y' in dataset.mix is inf", "above 0"),
    (["dataset=shards", "dataset.mix=[{weight: 1}]"], "A set of dataset.mix has no root", "folder or address"),
    (["dataset=shards"], "dataset=shards needs dataset.root", "dataset.mix for several"),
    (["loader.epoch_segments=0"], "loader.epoch_segments=0", "1 or more"),
    (["loader.probe_s=0"], "loader.probe_s=0", "more than 0 s"),
    (["dataset=shards", "dataset.root=x", "dataset.limit=3"], "dataset=shards holds finished rows", "chirpid shard"),
    ([*CSV, "dataset.secondary_weight=0.5"], "dataset.secondary_weight=0.5", "dataset.secondary_column"),
    ([*CSV, "dataset.delimiter=';;'"], "dataset.delimiter=';;'", "null detects it"),
    (["segment.duration_s=0.02"], "frontend.fft_samples=1024", "shorter FFT or longer segments"),
    (["frontend.top_db=0"], "frontend.top_db=0.0", "more than 0 dB"),
    (["segment.min_tail_s=-1"], "segment.min_tail_s=-1.0", "0 s or more"),
    (["segment.max_below_peak_db=-3"], "segment.max_below_peak_db=-3.0", "more than 0 dB"),
    (["augment.time_shift_s=6"], "augment.time_shift_s=6.0", "segment.duration_s=5.0"),
    (["augment.time_mask_s=5"], "augment.time_mask_s=5.0", "shorter mask"),
    (["augment.freq_mask_bands=64"], "augment.freq_mask_bands=64", "frontend.num_mels=64"),
    (["mode.keep=waveform", "mode.dtype=float16"], "mode.dtype=float16", "Use int16"),
    (["mode.dtype=uint8", "frontend=pcen"], "mode.dtype=uint8", "frontend=logmel"),
    (["mode=streaming", "loader.order=shuffled"], "mode=streaming reads in sequence", "loader.order=auto"),
    (["loader=device"], "needs mode=eager", "found mode=cached"),
    (["loader.backend=device", "mode=lazy"], "needs mode=eager", "found mode=lazy"),
    (["loader=device", "mode=eager", "loader.backend=threads"], "contradicts loader.backend=threads", "Drop one"),
    (["loader.backend=inline", "loader.num_workers=2"], "loader.num_workers=2", "loader.backend=threads"),
    (["loader.backend=processes", "loader.num_workers=0"], "loader.backend=processes needs a worker", "inline"),
    ([*CSV, "cv=predefined"], "dataset.fold_column", "column of the official folds"),
    (["cv=predefined"], "dataset=demo has none", "Use cv=grouped_kfold"),
    (["cv.folds=[]"], "cv.folds=[] runs nothing", "null for all"),
    (["cv.folds=[5]"], "cv.folds=[5]", "there are 5"),
    (["cv.folds=[-1]"], "cv.folds=[-1]", "count from 0"),
    (["cv=holdout", "cv.folds=[1]"], "cv=holdout", "there are 1"),
    (["cv.folds=[1,1]"], "cv.folds=[1, 1]", "twice"),
    (["optim.warmup_epochs=21"], "optim.warmup_epochs=21.0", "engine.epochs=20"),
    (["optim.warmup_epochs=-1"], "optim.warmup_epochs=-1.0", "0 to"),
    (["optim.clip_norm=0"], "optim.clip_norm=0.0", "null does not clip"),
    (["engine.max_batches=0"], "engine.max_batches=0", "null runs whole epochs"),
    (["engine.num_threads=0"], "engine.num_threads=0", "null takes all cores"),
    (["engine.checkpoint_minutes=0"], "engine.checkpoint_minutes=0.0", "more than 0"),
    (["tracking.timeout_s=0"], "tracking.timeout_s=0.0", "more than 0 s"),
]  # fmt: skip


@cache
def refusal(overrides: tuple[str, ...]) -> str:
    with pytest.raises(ConfigError) as caught:
        compose(overrides)
    return str(caught.value)


@pytest.mark.parametrize(("overrides", "what", "way_out"), BROKEN)
def test_a_contradiction_is_refused_with_a_way_out(
    overrides: list[str], what: str, way_out: str
) -> None:
    message = refusal(tuple(overrides))
    assert what in message
    assert way_out in message
    assert "\n" not in message
    assert "{" not in message


def test_every_rule_is_broken_by_some_case_above() -> None:
    said = " | ".join(refusal(tuple(overrides)) for overrides, _, _ in BROKEN)
    assert [rule.message for rule in RULES if _opening(rule.message) not in said] == []


@pytest.mark.parametrize("setting", ["metric", "engine.monitor"])
def test_a_metric_that_is_not_computed_is_refused(setting: str) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'recording/macro_f1'"):
        compose([f"{setting}=recording/macrof1"])


@pytest.mark.parametrize(
    "overrides",
    [
        ["loader=device", "mode=eager"],
        ["augment.noise_db=-40", "mode.keep=spectrogram"],
        ["optim.warmup_epochs=20"],
        ["cv=holdout", "cv.folds=[0]"],
        ["engine.device=cuda:1"],
        ["mode=streaming", "loader.order=windowed"],
        ["loader.backend=threads", "loader.num_workers=1"],
        ["dataset=shards", "dataset.mix={x: 0.1}", "loader.epoch_segments=1"],
    ],
)
def test_what_is_just_inside_the_rules_is_taken(overrides: list[str]) -> None:
    compose(overrides)


UNUSED_ASKED = [
    (["mode=lazy", "mode.cache_gib=3"], "mode.cache_gib"),
    (["mode=eager", "mode.read=direct"], "mode.read"),
    (["engine.patience=3"], "engine.patience"),
    (["engine.monitor=segment/accuracy"], "engine.monitor"),
    (["engine.selection=fold", "engine.inner_fraction=0.2"], "engine.inner_fraction"),
    (["cv=holdout", "cv.num_folds=4"], "cv.num_folds"),
    (["cv.holdout_fraction=0.3"], "cv.holdout_fraction"),
    ([*CSV, "cv=predefined", "dataset.fold_column=fold", "cv.group_by=segment"], "cv.group_by"),
    ([*CSV, "dataset.demo.num_species=4"], "dataset.demo.num_species"),
    (["dataset=shards", "dataset.root=x", "dataset.on_bad=skip"], "dataset.on_bad"),
    (["loader.epoch_segments=64"], "loader.epoch_segments"),
    (["loader.probe_s=1"], "loader.probe_s"),
    (["loader.backend=threads", "loader.start_method=spawn"], "loader.start_method"),
    (["loader.backend=inline", "loader.persistent_workers=true"], "loader.persistent_workers"),
    (["tracking=off", "tracking.uri=sqlite:///x.db"], "tracking.uri"),
    (["tracking=off", "tracking.experiment=x"], "tracking.experiment"),
    (["loader.order=shuffled", "mode.window_segments=64"], "mode.window_segments"),
]


@pytest.mark.parametrize(("overrides", "setting"), UNUSED_ASKED)
def test_a_setting_that_was_asked_for_in_vain_is_named(overrides: list[str], setting: str) -> None:
    (note,) = compose(overrides).notes
    assert note.startswith(f"{setting} (command line) has no effect: ")


def test_every_note_on_unused_settings_is_given_by_some_case_above() -> None:
    assert {setting for _, setting in UNUSED_ASKED} == {key for key, _, _ in UNUSED}


def test_values_of_a_built_in_option_are_not_complained_about() -> None:
    assert compose(["engine=patient", "engine.selection=last"]).notes == ()
    assert compose().notes == ()


def _opening(message: str) -> str:
    """Return the longest stretch of a message that no setting fills in."""
    stretches = [piece.split("}")[-1] for piece in message.split("{")]
    return max(stretches, key=len)
