"""Two sets as one: the rows of each, the classes of both, and no group on two sides of a split."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from chirpid.data.check import Checked
from chirpid.data.datasets import SegmentDataset
from chirpid.data.datasets.joined import JoinedDataset
from chirpid.data.join import join_checked, join_segments
from chirpid.data.mix import Mix, mixed_epoch
from chirpid.data.order import OrderRule, batches_of
from chirpid.data.segments import SegmentTable
from chirpid.data.splits import make_folds
from chirpid.errors import DataError
from chirpid.loading.backends.inline import InlineBackend
from chirpid.loading.backends.threads import ThreadsBackend
from chirpid.types import Mode, Order, StoreDtype
from tests.sounds import write_set
from tests.workbench import dataset_of, maker_of, opened

NAMES = ("woods", "shore")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sets share recordists; a recording of the woods is on the shore by another name."""
    place = tmp_path_factory.mktemp("join")
    write_set(place / "woods", num_classes=3, groups=4)
    shore = write_set(place / "shore", num_classes=2, groups=6, seconds=3.1)
    table = pd.read_csv(shore / "metadata.csv")
    table["label"] = table["label"].replace({"bird 0": "gull"})
    table["group"] = table["group"].replace({"person 5": "sailor", "person 4": "diver"})
    shutil.copy(place / "woods/audio/000.wav", shore / "audio/copy.wav")
    table.loc[len(table)] = ["audio/copy.wav", "bird 1", "sailor"]
    table.to_csv(shore / "metadata.csv", index=False)
    return place


@pytest.fixture(scope="module")
def sets(place: Path) -> list[tuple[Checked, SegmentTable]]:
    return [opened(place / name) for name in NAMES]


@pytest.fixture(scope="module")
def parts(sets, place: Path) -> dict[Mode, list[SegmentDataset]]:
    return {
        mode: [dataset_of(mode, maker_of(table), place / "cache", window_segments=14)
               for _, table in sets]
        for mode in Mode
    }  # fmt: skip


def test_names_classes_and_groups_are_those_of_the_sets(sets) -> None:
    tables = [table for _, table in sets]
    joined = join_segments(tables, NAMES)
    assert joined.classes == ("bird 0", "bird 1", "bird 2", "gull")
    assert len(joined) == len(tables[0]) + len(tables[1])
    first = 0
    for table, name in zip(tables, NAMES, strict=True):
        for index in range(len(table)):
            assert joined.name(first + index) == f"{name}/{table.name(index)}"
            own, all_ = table.label_N[index], joined.label_N[first + index]
            assert joined.classes[all_] == table.classes[own]
            own, all_ = table.group_N[index], joined.group_N[first + index]
            assert joined.groups[all_] == table.groups[own]
        assert np.array_equal(joined.key_N[first : first + len(table)], table.key_N)
        first += len(table)


def test_no_group_and_no_copy_is_in_two_folds_of_the_joined_sets(sets) -> None:
    checked = join_checked([one for one, _ in sets], NAMES)
    joined = join_segments([table for _, table in sets], NAMES)
    names = [joined.recordings[r] for r in range(len(joined.recordings))]
    table = checked.manifest.table.set_index("recording").loc[names]
    assert table["label"].tolist() == [joined.classes[c] for c in joined.label_R]
    folds = make_folds(
        kind="grouped_kfold",
        labels_R=joined.label_R,
        groups_R=[joined.groups[g] for g in joined.group_R],
        audio_hash_R=table["audio_hash"].tolist(),
        official_R=table["fold"].to_numpy(dtype=np.int64),
        recording_N=joined.recording_N,
        class_names=joined.classes,
        num_folds=3,
    )
    of_group: dict[str, set[int]] = {}
    for index in range(len(joined)):
        group = joined.groups[joined.group_N[index]]
        of_group.setdefault(group, set()).add(int(folds.fold_N[index]))
    assert all(len(found) == 1 for found in of_group.values())
    both = {t.groups[g] for g in range(4) for t in [sets[0][1]]} & set(sets[1][1].groups)
    assert len(both) >= 3, "the test has recordists who are in both sets"
    # The copy ties its recordist of the shore to the one of the woods.
    assert of_group["sailor"] == of_group["person 0"]


@pytest.mark.parametrize("mode", list(Mode))
def test_a_joined_batch_holds_the_rows_of_its_parts(parts, mode: Mode) -> None:
    joined = JoinedDataset(parts[mode], NAMES)
    size = parts[mode][0].num_segments
    ids = np.random.default_rng(0).permutation(len(joined))
    wanted = torch.stack([
        parts[mode][int(i >= size)].fetch(np.array([i - size * (i >= size)]))[0][0] for i in ids
    ])  # fmt: skip
    rows, stages = joined.fetch(ids)
    assert torch.equal(rows, wanted)
    assert stages.get("num_cache_hits", 0) + stages.get("num_cache_misses", 0) == len(ids)
    for some in (ids[:1], np.arange(size, len(joined)), ids[:0]):
        assert torch.equal(joined.fetch(some)[0], joined.fetch(np.arange(len(joined)))[0][some])


@pytest.mark.parametrize("mode", [Mode.streaming, Mode.cached])
def test_backends_deliver_a_mixture_of_joined_sets(sets, parts, mode: Mode) -> None:
    joined = JoinedDataset(pickle.loads(pickle.dumps(parts[mode])), NAMES)
    table = join_segments([table for _, table in sets], NAMES)
    mix = Mix(NAMES, joined.starts, (0.75, 0.25), 80)
    rule = OrderRule(Order.windowed, block_segments=7, window_segments=14)
    epoch = mixed_epoch(np.arange(len(joined)), table.key_N, mix, rule, epoch=0)
    batches = batches_of(epoch.ids, 8)
    plain, _ = JoinedDataset(parts[Mode.eager], NAMES).fetch(np.arange(len(joined)))
    for backend in (InlineBackend(joined), ThreadsBackend(joined, num_workers=2, prefetch=2)):
        for ids, batch in zip(batches, backend.run(batches), strict=True):
            assert np.array_equal(batch.ids, ids)
            assert torch.equal(batch.inputs[: len(ids)], plain[ids])
    joined.close()


def test_rows_of_another_kind_are_refused(sets, parts, place: Path) -> None:
    other = dataset_of(Mode.lazy, maker_of(sets[1][1], dtype=StoreDtype.float32), place / "cache")
    with pytest.raises(DataError, match=r"'shore' are .*float32.*float16"):
        JoinedDataset([parts[Mode.lazy][0], other], NAMES)
