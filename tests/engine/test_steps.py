"""Between loader and network: training is augmented by keys alone, validation is not at all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from chirpid.audio.augment import AugmentRule
from chirpid.audio.frontend import FrontEnd
from chirpid.data.segments import SegmentTable
from chirpid.engine.model import BirdModel
from chirpid.engine.steps import Preparer
from chirpid.loading.monitor import EpochMonitor
from chirpid.models.small_cnn import SmallCNN
from chirpid.types import Batch
from tests.engine.bench import AUGMENT, task_of
from tests.workbench import FRONTEND

CPU = torch.device("cpu")


def preparer(segments: SegmentTable, rule: AugmentRule, kind: str = "logmel") -> Preparer:
    frontend = FrontEnd(**{**FRONTEND, "kind": kind})
    model = BirdModel(frontend, SmallCNN(3, width=4), segments.classes)
    return Preparer(model, task_of(segments), rule, CPU, seed=0)


def batch_of(ids: list[int], shape: tuple[int, ...], seed: int = 0) -> Batch:
    """Return a batch whose rows depend on their ids."""
    rows = [torch.randn(shape, generator=torch.Generator().manual_seed(seed + i)) for i in ids]
    return Batch(ids=np.array(ids), inputs=torch.stack(rows) * 10 - 40, stages={})


def augmented(one: Preparer, batch: Batch, epoch: int = 0) -> torch.Tensor:
    inputs, target = one.to_device(batch, EpochMonitor())
    return one.augmented(batch, inputs, target, epoch)[0]


@pytest.mark.parametrize(("kind", "shape"), [
    ("logmel", (24, 63)), ("pcen", (24, 63)), ("logmel", (16000,)), ("pcen", (16000,)),
])  # fmt: skip
def test_a_segment_is_augmented_alike_in_any_batch(
    segments: SegmentTable, kind: str, shape: tuple[int, ...]
) -> None:
    one = preparer(segments, replace(AUGMENT, mixup_alpha=0.0), kind)
    together = augmented(one, batch_of([3, 5, 9, 11], shape))
    apart = torch.cat([augmented(one, batch_of([i], shape)) for i in (3, 5, 9, 11)])
    assert torch.allclose(together, apart, atol=1e-4)
    assert torch.isfinite(together).all()
    assert not torch.equal(together, augmented(one, batch_of([3, 5, 9, 11], shape), epoch=1))


@pytest.mark.parametrize("shape", [(24, 63), (16000,)])
def test_without_augmentation_training_sees_what_validation_sees(
    segments: SegmentTable, shape: tuple[int, ...]
) -> None:
    one = preparer(segments, AugmentRule())
    batch = batch_of([0, 1, 2], shape)
    assert torch.allclose(augmented(one, batch), one.clean(batch.inputs), atol=1e-5)


def test_what_the_loader_delivered_is_not_written_to(segments: SegmentTable) -> None:
    """The loader's buffer may be a row of a cache."""
    for shape in ((24, 63), (16000,)):
        batch = batch_of([0, 1], shape)
        before = batch.inputs.clone()
        augmented(preparer(segments, AUGMENT), batch)
        assert torch.equal(batch.inputs, before)


def test_targets_are_those_of_the_ids(segments: SegmentTable) -> None:
    one = preparer(segments, AugmentRule())
    _, target = one.to_device(batch_of([7, 0], (24, 63)), EpochMonitor())
    assert target.argmax(dim=1).tolist() == segments.label_N[[7, 0]].tolist()
