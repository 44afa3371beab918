"""Training: one result from every path, and interrupted equals uninterrupted."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chirpid.data.segments import SegmentTable
from chirpid.engine.model import BirdModel
from chirpid.errors import Interrupted, TrainingError
from chirpid.loading.backends.processes import ProcessesBackend
from chirpid.loading.backends.threads import ThreadsBackend
from chirpid.models.small_cnn import SmallCNN
from chirpid.types import Mode, StartMethod
from tests.engine.bench import RULE, Recorder, engine_of, same_weights, weights
from tests.examples import examples
from tests.workbench import maker_of


@pytest.fixture(scope="module")
def straight(segments: SegmentTable, place: Path) -> tuple[Path, Recorder]:
    """A run that was never stopped."""
    recorder = Recorder()
    engine_of(segments, place / "straight", cache=place / "cache", observer=recorder).run()
    return place / "straight", recorder


def stop_at(number: int):
    def on_batch(done: int) -> None:
        if done == number:
            os.kill(os.getpid(), signal.SIGINT)

    return on_batch


@settings(
    max_examples=examples(6),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_a_run_stopped_at_any_batches_ends_with_the_bits_of_one_that_never_stopped(
    segments: SegmentTable, place: Path, straight: tuple[Path, Recorder], tmp_path_factory, data
) -> None:
    folder = tmp_path_factory.mktemp("stopped")
    total = straight[1].batches
    while True:
        at = data.draw(st.integers(1, total), label="stop after")
        recorder = Recorder(on_batch=stop_at(at))
        try:
            outcomes = engine_of(segments, folder, cache=place / "cache", observer=recorder).run()
        except Interrupted:
            continue
        break
    for fold in (0, 1):
        assert same_weights(folder, straight[0], fold)
    assert [len(o.history) for o in outcomes] == [RULE.epochs] * 2
    wanted = engine_of(segments, straight[0], cache=place / "cache").run()
    for one, other in zip(outcomes, wanted, strict=True):
        assert np.array_equal(one.probs_NC, other.probs_NC)
        losses = [[e["train/loss"] for e in o.history] for o in (one, other)]
        assert losses[0] == losses[1]


def test_going_on_from_a_periodic_checkpoint_gives_the_same_bits(
    segments: SegmentTable, place: Path, straight: tuple[Path, Recorder], tmp_path: Path
) -> None:
    """As after kill -9: what was done since the last checkpoint is done again."""

    class Killed(BaseException):
        pass

    def die(done: int) -> None:
        if done == 7:
            raise Killed

    often = replace(RULE, checkpoint_s=0.0)
    with pytest.raises(Killed):
        engine_of(
            segments, tmp_path, cache=place / "cache", rule=often, observer=Recorder(on_batch=die)
        ).run()
    engine_of(segments, tmp_path, cache=place / "cache").run()
    assert same_weights(tmp_path, straight[0])


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_all_modes_and_worker_counts_end_with_the_same_weights(
    segments: SegmentTable,
    place: Path,
    straight: tuple[Path, Recorder],
    tmp_path: Path,
    mode: Mode,
    workers: int,
) -> None:
    options = {} if workers == 0 else {
        "backend": lambda dataset: ThreadsBackend(dataset, num_workers=workers, prefetch=2)
    }  # fmt: skip
    engine_of(segments, tmp_path, cache=place / "cache", mode=mode, only=[0], **options).run()
    assert same_weights(tmp_path, straight[0])


def test_worker_processes_end_with_the_same_weights(
    segments: SegmentTable, place: Path, straight: tuple[Path, Recorder], tmp_path: Path
) -> None:
    def processes(dataset):
        return ProcessesBackend(dataset, num_workers=2, prefetch=2, start_method=StartMethod.fork)

    engine_of(segments, tmp_path, cache=place / "cache", only=[0], backend=processes).run()
    assert same_weights(tmp_path, straight[0])


def test_a_fold_alone_is_the_fold_of_the_whole_run(
    segments: SegmentTable, place: Path, straight: tuple[Path, Recorder], tmp_path: Path
) -> None:
    engine_of(segments, tmp_path, cache=place / "cache", only=[1]).run()
    assert same_weights(tmp_path, straight[0], fold=1)


def test_another_seed_gives_other_weights(
    segments: SegmentTable, place: Path, straight: tuple[Path, Recorder], tmp_path: Path
) -> None:
    rule = replace(RULE, seed=1)
    engine_of(segments, tmp_path, cache=place / "cache", only=[0], rule=rule).run()
    assert not same_weights(tmp_path, straight[0])


def test_a_folder_of_done_folds_trains_nothing(
    segments: SegmentTable, place: Path, straight: tuple[Path, Recorder]
) -> None:
    recorder = Recorder()
    engine_of(segments, straight[0], cache=place / "cache", observer=recorder).run()
    assert recorder.batches == 0


def test_tones_are_learnt(segments: SegmentTable, place: Path, tmp_path: Path) -> None:
    """Three classes of pure tones: a network that learns at all tells them apart."""
    rule = replace(RULE, epochs=25, augment=replace(RULE.augment, mixup_alpha=0.0))
    outcomes = engine_of(segments, tmp_path, cache=place / "cache", rule=rule, only=[0]).run()
    assert outcomes[0].metrics["recording/accuracy"] == 1.0


def test_the_saved_model_takes_raw_waveforms_and_gives_the_validated_probabilities(
    segments: SegmentTable, place: Path, straight: tuple[Path, Recorder]
) -> None:
    outcome = engine_of(segments, straight[0], cache=place / "cache").run()[0]
    maker = maker_of(segments)
    model = BirdModel(maker.frontend, SmallCNN(3, width=4), segments.classes)
    model.load_state_dict(weights(straight[0]))
    model.eval()
    for position, index in enumerate(outcome.valid_ids.tolist()):
        with maker.open(int(segments.recording_N[index])) as decoder, torch.inference_mode():
            probs = model(maker.waveform(index, decoder, {})[None])[0].numpy()
        # The run kept its spectrograms as float16: steps of up to 0.06 dB.
        assert np.allclose(probs, outcome.probs_NC[position], atol=0.02)


class Poison(torch.nn.Module):
    """A network whose loss is not a number from the fourth batch on."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(1, 3)
        self.calls = 0

    def forward(self, spec: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        factor = float("nan") if self.calls == 4 else 1.0
        return self.linear(spec.mean(dim=(2, 3))) * factor


def test_a_loss_that_is_not_a_number_stops_and_names_the_segments(
    segments: SegmentTable, place: Path, tmp_path: Path
) -> None:
    engine = engine_of(segments, tmp_path, cache=place / "cache", make_network=Poison)
    with pytest.raises(TrainingError, match=r"loss is nan in fold 0, epoch 0, batch 3") as error:
        engine.run()
    train = engine.bench.folds.train_ids(0)
    batch = RULE.train_epoch(train, segments.key_N, 0).batches[3]
    for index in batch.tolist():
        assert segments.name(index) in str(error.value)


def test_validation_is_whole_clean_and_in_order(
    segments: SegmentTable, place: Path, tmp_path: Path
) -> None:
    outcomes = engine_of(segments, tmp_path, cache=place / "cache").run()
    validated = np.concatenate([o.valid_ids for o in outcomes])
    assert sorted(validated.tolist()) == list(range(len(segments)))
    for outcome in outcomes:
        assert np.allclose(outcome.probs_NC.sum(axis=1), 1.0)


def test_statistics_come_from_the_training_part_alone(
    segments: SegmentTable, place: Path, straight: tuple[Path, Recorder]
) -> None:
    engine = engine_of(segments, straight[0], cache=place / "cache")
    train = engine.bench.folds.train_ids(0)
    rows = engine.bench.loader.dataset.fetch(train)[0].double()
    state = weights(straight[0])
    assert torch.allclose(state["normaliser.mean_M"].double(), rows.mean(dim=(0, 2)), atol=1e-4)
    std = rows.std(dim=(0, 2), correction=0).clamp_min(1e-3)
    assert torch.allclose(state["normaliser.std_M"].double(), std, atol=1e-3)


@pytest.mark.parametrize("selection", ["inner", "fold"])
def test_early_stopping_reports_the_epoch_it_chose(
    segments: SegmentTable, place: Path, tmp_path: Path, selection: str
) -> None:
    def inner_split(ids: np.ndarray, fold: int) -> tuple[np.ndarray, np.ndarray]:
        return ids[::2], ids[1::2]

    rule = replace(RULE, epochs=12, patience=2, selection=selection)
    outcome = engine_of(
        segments, tmp_path, cache=place / "cache", rule=rule, only=[0], inner_split=inner_split
    ).run()[0]
    side = "inner" if selection == "inner" else "valid"
    scores = [epoch[f"{side}/recording/macro_f1"] for epoch in outcome.history]
    assert outcome.best_epoch == int(np.argmax(scores))
    assert len(scores) in (outcome.best_epoch + 1 + rule.patience, rule.epochs)
    if selection == "fold":
        best = outcome.history[outcome.best_epoch]["valid/recording/macro_f1"]
        assert outcome.metrics["recording/macro_f1"] == best


def test_a_lone_last_segment_joins_the_batch_before() -> None:
    keys = np.arange(9, dtype=np.uint64)
    batches = RULE.train_epoch(np.arange(9), keys, 0).batches
    assert [len(b) for b in batches] == [4, 5]
    assert sorted(np.concatenate(batches).tolist()) == list(range(9))
