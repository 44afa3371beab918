"""What is planned follows from the set: a batch that never comes takes no memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chirpid.build.plan import largest_batch, plan_of
from chirpid.config.schema import DatasetKind, MixedSet, RootConfig
from chirpid.data.kept import RowSpec
from chirpid.loading.hardware import GIB, Machine
from chirpid.types import Keep, StoreDtype

SPEC = RowSpec(Keep.spectrogram, StoreDtype.float32, (64, 100))
MACHINE = Machine(2, 8 * GIB, 6 * GIB)


def asked(batch_size: int, eval_batch_size: int | None = None, **loader: object) -> RootConfig:
    config = RootConfig()
    sizes = {"batch_size": batch_size, "eval_batch_size": eval_batch_size, **loader}
    return replace(config, loader=replace(config.loader, **sizes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("batch_size", "eval_batch_size", "largest"),
    [(32, None, 32), (1000, None, 40), (32, 16, 32), (16, 1000, 40), (16, 24, 24)],
)
def test_batches_are_planned_as_large_as_they_come(
    batch_size: int, eval_batch_size: int | None, largest: int
) -> None:
    config = asked(batch_size, eval_batch_size)
    assert largest_batch(config, 40) == largest
    plan = plan_of(config, MACHINE, SPEC, 40)
    assert plan.batch_bytes == largest * SPEC.batch_row_bytes
    assert plan.total_bytes == plan.batch_bytes * 2, "inline: one that is made, one that is used"


def test_a_budget_that_holds_all_of_a_small_set_takes_any_batch_size() -> None:
    config = asked(10**7)
    config = replace(config, memory=replace(config.memory, budget_gib=0.01))
    assert plan_of(config, MACHINE, SPEC, 40).batch_bytes == 40 * SPEC.batch_row_bytes


def test_draws_from_several_sets_fill_a_batch_that_is_larger_than_they_are() -> None:
    config = asked(100, 100, epoch_segments=1000)
    dataset = replace(config.dataset, kind=DatasetKind.shards, mix=[MixedSet(root="one")])
    assert largest_batch(replace(config, dataset=dataset), 40) == 100
    assert largest_batch(config, 40) == 40, "without a mix, it has no effect"
