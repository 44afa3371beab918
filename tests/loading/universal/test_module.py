"""A data module for any dataset: what it trains on, what it holds out, where it goes on."""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import (
    Subset,
    TensorDataset,
)

from chirpid.errors import ConfigError, DataError
from chirpid.loading.universal import shares
from chirpid.loading.universal.easy import make_loader
from chirpid.loading.universal.module import LoaderSettings, UniversalDataModule
from chirpid.loading.universal.passes import Passes
from tests.loading.universal.module_sets import IDS, NUM, Items, Stream, ids_of


@pytest.mark.parametrize(
    "data",
    [
        TensorDataset(IDS, -IDS),
        Items(),
        IDS,
        (IDS, -IDS),
        {"id": IDS.numpy(), "x": np.zeros((NUM, 3))},
        pd.DataFrame({"id": range(NUM), "x": 0.5}),
        pd.DataFrame({"id": range(NUM), "x": ["a"] * NUM}),
        [(i, float(i)) for i in range(NUM)],
        Subset(Subset(TensorDataset(torch.arange(50)), range(10, 40)), range(0, 30, 2)),
    ],
    ids=["tensors", "items", "tensor", "tuple", "arrays", "frame", "texts", "list", "subset"],
)
def test_any_dataset_is_trained_on_and_validated_without_a_sample_on_both_sides(data: Any) -> None:
    with UniversalDataModule(data, batch_size=4, seed=2) as module:
        train, val = module.train_dataloader(), module.val_dataloader()
        assert module.split is not None
        first, second = ids_of(train), ids_of(train)
        assert first != second
        assert sorted(first) == sorted(second)
        assert ids_of(val) == ids_of(val)
        everything = ids_of(make_loader(data, shuffle=False))
        assert sorted(first + ids_of(val)) == everything
        assert ids_of(val) == [everything[number] for number in module.split.val_N]


def test_the_split_keeps_groups_together_by_column_values_and_function() -> None:
    groups = np.arange(NUM) // 4
    frame = pd.DataFrame({"id": range(NUM), "site": groups})
    ways = [
        UniversalDataModule(frame, group="site"),
        UniversalDataModule(TensorDataset(IDS), group=groups),
        UniversalDataModule(TensorDataset(IDS), group=torch.from_numpy(groups)),
        UniversalDataModule(Items(), group=lambda sample: sample["id"] // 4),
        UniversalDataModule(frame.rename(columns={"site": "group"})),
    ]
    splits = [module.split for module in ways]
    assert len({split.fingerprint() for split in splits if split is not None}) == 1
    assert ways[0].split is not None
    assert len(set(groups[ways[0].split.val_N])) == 1
    assert ways[-1].notes == ["Split by the column 'group'; group=None leaves it out."]


def test_each_class_is_held_out_where_asked() -> None:
    module = UniversalDataModule(Items(), stratify="parity", val_fraction=0.2)
    assert module.split is not None
    assert np.bincount(module.split.val_N % 2).tolist() == [2, 2]


def test_a_split_or_a_set_that_is_given_is_the_one_that_is_validated() -> None:
    module = UniversalDataModule(IDS, split=([3, 1, 2], [0, 9]), batch_size=2)
    assert sorted(ids_of(module.train_dataloader())) == [1, 2, 3]
    assert ids_of(module.val_dataloader()) == [0, 9]
    other = UniversalDataModule(IDS, val=100 + IDS, test=200 + IDS)
    assert sorted(ids_of(other.train_dataloader())) == IDS.tolist()
    assert ids_of(other.val_dataloader()) == (100 + IDS).tolist()
    assert ids_of(other.test_dataloader()) == (200 + IDS).tolist()
    assert UniversalDataModule(IDS, val_fraction=0).val_dataloader() == []


def test_several_sets_come_as_they_were_given() -> None:
    sets = {"near": TensorDataset(IDS), "far": TensorDataset(50 + IDS)}
    named = UniversalDataModule(IDS, val=sets).val_dataloader()
    assert [ids_of(named[name])[0] for name in ("near", "far")] == [0, 50]
    listed = UniversalDataModule(IDS, val=list(sets.values())).val_dataloader()
    assert [ids_of(one)[0] for one in listed] == [0, 50]
    columns = {"id": IDS.numpy(), "x": np.ones(NUM)}
    assert isinstance(UniversalDataModule(columns, val=columns).val_dataloader(), Passes)


@pytest.mark.parametrize(("num", "batch_size"), [(2, 64), (5, 4), (3, 3)])
def test_fewer_samples_than_a_batch_make_a_short_batch(num: int, batch_size: int) -> None:
    module = UniversalDataModule(torch.arange(num), batch_size=batch_size)
    found = ids_of(module.train_dataloader()) + ids_of(module.val_dataloader())
    assert sorted(found) == list(range(num))


def test_drop_last_holds_for_training_alone() -> None:
    module = UniversalDataModule(IDS, val_fraction=0.5, batch_size=4, drop_last=True)
    assert [len(batch) for batch in module.train_dataloader()] == [4, 4]
    assert [len(batch) for batch in module.val_dataloader()] == [4, 4, 2]
    few = UniversalDataModule(IDS, batch_size=17, drop_last=True)
    with pytest.raises(ConfigError, match="drop_last drops all"):
        few.train_dataloader()


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"train": []}, DataError, "train has no samples"),
        ({"train": TensorDataset(IDS[:0])}, DataError, "train has no samples"),
        ({"val": []}, DataError, "val has no samples"),
        ({"val": [TensorDataset(IDS), TensorDataset(IDS[:0])]}, DataError, r"val\[1\] has no"),
        ({"train": 3}, DataError, "int is no dataset"),
        ({"train": IDS[:1]}, DataError, "cannot be split"),
        ({"val_fraction": 1.5}, ConfigError, "out of range"),
        ({"batch_size": 0}, ConfigError, "batch_size is 0"),
        ({"seed": -1}, ConfigError, "seed is -1"),
        ({"group": [1, 2]}, DataError, "2 values, and there are 20 samples"),
        ({"group": [None] + [1] * 19}, DataError, "no value for sample 0"),
        ({"group": np.zeros((NUM, 2))}, DataError, "one value for a sample"),
        ({"group": "site"}, DataError, "names a column, and Tensor has none"),
        ({"train": Items(), "group": "site"}, DataError, "no column of the data. There are: id"),
        ({"group": [7] * NUM}, DataError, "one group, 7"),
        ({"val": IDS, "split": ([0], [1])}, ConfigError, "split has no meaning"),
        ({"val": IDS, "group": IDS}, ConfigError, "group has no meaning"),
        ({"val_take": 3}, ConfigError, "train is no stream"),
        ({"train": Stream(), "group": "id"}, ConfigError, "group has no meaning"),
        ({"train": Stream(), "split": ([0], [1])}, ConfigError, "split has no meaning"),
        ({"train": Stream(), "val": IDS, "val_take": 2}, ConfigError, "val_take has no meaning"),
    ],
    ids=lambda value: None if isinstance(value, type) else str(value)[:40],
)
def test_what_cannot_be_had_is_refused_at_once_with_what_to_do(
    settings: dict[str, Any], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        UniversalDataModule(**{"train": IDS, **settings})


def test_the_first_samples_of_a_stream_are_held_out_and_never_trained_on() -> None:
    module = UniversalDataModule(Stream(), val_take=6, batch_size=4, window=8)
    train, val = module.train_dataloader(), module.val_dataloader()
    with pytest.raises(TypeError):
        len(train)
    for _ in range(3):
        assert ids_of(val) == list(range(6))
        assert sorted(ids_of(train)) == list(range(6, NUM))
    alone = UniversalDataModule(Stream(), batch_size=4)
    assert sorted(ids_of(alone.train_dataloader())) == list(range(NUM))
    assert alone.val_dataloader() == []
    assert "val_take=n" in alone.notes[0]


def test_a_stream_that_several_read_cannot_be_held_out_of() -> None:
    module = UniversalDataModule(Stream(), val_take=6, num_workers=2)
    with pytest.raises(ConfigError, match="single reader"):
        module.train_dataloader()


@pytest.mark.parametrize("make", [lambda: UniversalDataModule(IDS, batch_size=3, seed=1),
                                  lambda: UniversalDataModule(Stream(), val_take=2, batch_size=3)],
                         ids=["map", "stream"])  # fmt: skip
def test_a_state_goes_on_after_the_last_batch(make: Any) -> None:
    whole = make().train_dataloader()
    batches = [b.tolist() for _ in range(2) for b in whole]
    for num_done in (0, 1, 4, 7):
        first, left = make(), num_done
        loader = first.train_dataloader()
        while left:
            for _ in zip(range(left), loader, strict=False):
                left -= 1
        second = make()
        second.load_state_dict(first.state_dict())
        assert second.state_dict() == first.state_dict()
        loader = second.train_dataloader()
        rest = [b.tolist() for b in loader] + [b.tolist() for b in loader]
        assert rest[: len(batches) - num_done] == batches[num_done:]


def test_another_batch_size_makes_other_loaders() -> None:
    module = UniversalDataModule(IDS, batch_size=4)
    loader = module.train_dataloader()
    next(iter(loader))
    module.batch_size = 8
    assert [len(batch) for batch in module.train_dataloader()] == [8, 8]
    module.batch_size = 4
    assert module.state_dict() == UniversalDataModule(IDS, batch_size=4).state_dict()
    with pytest.raises(ConfigError, match="batch_size is 0"):
        module.batch_size = 0


def test_a_state_of_another_seed_or_split_is_refused() -> None:
    state = UniversalDataModule(IDS, seed=1).state_dict()
    for other in (
        UniversalDataModule(IDS, seed=2),
        UniversalDataModule(IDS, seed=1, val_fraction=0.3),
        UniversalDataModule(IDS[:-1], seed=1),
    ):
        with pytest.raises(ConfigError, match="could be validated"):
            other.load_state_dict(state)
    with pytest.raises(ConfigError, match="no 'seed'"):
        UniversalDataModule(IDS).load_state_dict({})


def test_a_closed_module_tells_where_it_was_and_begins_anew() -> None:
    module = UniversalDataModule(IDS, batch_size=4)
    loader = module.train_dataloader()
    assert module.train_dataloader() is loader
    next(iter(loader))
    module.close()
    assert module.state_dict()["positions"]["train"]["batch"] == 1
    assert len(ids_of(module.train_dataloader())) == 16


def test_ranks_share_the_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[int] = []
    validated: list[int] = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", "2")
        module = UniversalDataModule(Subset(TensorDataset(100 + IDS), range(4, 20)), batch_size=3)
        trained += ids_of(module.train_dataloader())
        validated += ids_of(module.val_dataloader())
    assert len(trained) == 14
    assert sorted({*trained, *validated}) == list(range(104, 120))
    assert sorted(validated) == sorted(set(validated))
    assert not set(trained) & set(validated)


def test_ranks_validate_as_many_batches_each(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    lengths = []
    for rank in range(2):
        monkeypatch.setenv("RANK", str(rank))
        module = UniversalDataModule(IDS, val=IDS[:5], batch_size=2, say=said.append)
        lengths.append(len(module.val_dataloader()))
    assert lengths[0] == lengths[1]
    assert "come twice" in said[0]
    assert shares.stream_of_rank(Stream(), said.append)
    assert "whole Stream" in said[-1]


def test_a_module_can_be_told_all_that_a_loader_can() -> None:
    own = set(inspect.signature(UniversalDataModule.__init__).parameters)
    known = own | set(LoaderSettings.__annotations__) | {"dataset", "shuffle", "sampler"}
    assert set(inspect.signature(make_loader).parameters) <= known


def test_hugging_face_is_split_streamed_and_taken_apart() -> None:
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict(
        {"id": list(range(NUM)), "group": [i // 5 for i in range(NUM)], "text": ["a"] * NUM}
    )
    module = UniversalDataModule(rows, batch_size=4)
    assert module.split is not None
    assert len({number // 5 for number in module.split.val_N}) == 1
    assert ids_of(module.val_dataloader()) == module.split.val_N.tolist()
    parts = datasets.DatasetDict(train=rows, validation=rows.select([1, 2]), test=rows.select([3]))
    module = UniversalDataModule(parts)
    assert ids_of(module.val_dataloader()) == [1, 2]
    assert ids_of(module.test_dataloader()) == [3]
    with pytest.raises(ConfigError, match="'validation', and another"):
        UniversalDataModule(parts, val=rows)
    with pytest.raises(ConfigError, match="no 'train', only test"):
        UniversalDataModule(datasets.DatasetDict(test=rows))
    stream = rows.to_iterable_dataset(num_shards=4)
    module = UniversalDataModule(stream, val_take=6, batch_size=4)
    held = ids_of(module.val_dataloader())
    assert held == list(range(6))
    assert sorted(ids_of(module.train_dataloader())) == list(range(6, NUM))
    with pytest.raises(ConfigError, match="shuffled stream"):
        UniversalDataModule(stream.shuffle(seed=1), val_take=6)
