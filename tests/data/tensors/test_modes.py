"""The four modes give the same samples bit for bit, within their budgets, and freeze no draws."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import default_collate

from chirpid.cli import cache
from chirpid.data.general.trees import map_leaves
from chirpid.data.tensors import head as store_head
from chirpid.data.tensors.modes import in_mode
from chirpid.data.tensors.store import TensorStore
from chirpid.data.wrap.vectorized import VectorizedDataset
from chirpid.errors import BudgetError, ConfigError, DataError
from chirpid.storage.caches import list_caches
from chirpid.types import Mode
from tests.data.general.samples import Box, Mixed, Slow, batch_of, same_bits
from tests.examples import examples

DTYPES = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.uint16, torch.int32, torch.int64,
    torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
)  # fmt: skip
LEAVES = st.tuples(
    st.sampled_from(DTYPES), st.lists(st.integers(0, 4), max_size=2), st.sampled_from("tn")
)
TREES = st.recursive(
    LEAVES.map(lambda leaf: [leaf]),
    lambda inner: st.one_of(
        st.dictionaries(st.sampled_from(["x", "label", 7]), inner, min_size=1, max_size=3),
        st.tuples(inner, inner),
        st.tuples(inner, inner).map(lambda parts: Box(*parts)),
    ),
    max_leaves=4,
)


class Random:
    """Samples with random bits, in a structure that was drawn."""

    def __init__(self, tree: Any, num_rows: int) -> None:
        rng = np.random.default_rng(num_rows)
        self.samples = [_sample(tree, rng) for _ in range(num_rows)]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index]

    def fingerprint(self) -> str:
        return "drawn"


def _sample(tree: Any, rng: np.random.Generator) -> Any:
    if isinstance(tree, dict):
        return {key: _sample(part, rng) for key, part in tree.items()}
    if isinstance(tree, tuple):
        parts = [_sample(part, rng) for part in tree]
        return Box(*parts) if isinstance(tree, Box) else tuple(parts)
    ((dtype, shape, kind),) = tree
    values = torch.empty(shape, dtype=dtype)
    if values.numel():
        bits = torch.from_numpy(rng.integers(0, 256, values.nbytes, dtype=np.uint8))
        bits = bits % 2 if dtype is torch.bool else bits
        values = bits.view(dtype).view(tuple(shape))
    as_array = kind == "n" and dtype is not torch.bfloat16
    return values.numpy() if as_array else values


@settings(max_examples=examples(25), deadline=None)
@given(tree=TREES, num_rows=st.integers(1, 40), chunk_bytes=st.integers(1, 600), data=st.data())
def test_samples_are_the_same_in_every_mode_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, tree, num_rows, chunk_bytes, data
) -> None:
    dataset = Random(tree, num_rows)
    ids = data.draw(st.lists(st.integers(0, num_rows - 1), min_size=1, max_size=20))
    expected = default_collate([dataset[i] for i in ids])
    root = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_head, "CHUNK_BYTES", chunk_bytes)
        for mode in Mode:
            kept = in_mode(dataset, mode, cache_root=root)
            if mode is Mode.lazy:
                assert kept is dataset
                continue
            assert len(kept) == num_rows
            found = batch_of(kept, ids).tree()
            assert same_bits(found, expected), mode
            assert str(map_leaves(found, type)) == str(map_leaves(expected, type))
            assert same_bits(default_collate([kept[i] for i in ids]), expected), mode


def test_a_cache_is_made_once_and_serves_all_modes(tmp_path: Path) -> None:
    log, said = tmp_path / "log", []
    for mode in ("cached", "cached", "streaming", "eager"):
        kept = in_mode(Slow(log, 0), mode, cache_root=tmp_path / "c", say=said.append)
        assert isinstance(kept, TensorStore)
        assert kept.mode == mode
        kept.close()
    made = [int(line) for line in log.read_text().split()]
    # Each has looked at one sample; before the first, two were made twice, to see draws.
    assert sorted(made) == sorted([*range(30), 0, 0, 0, 0, 0, 1, 0, 1])
    assert len([text for text in said if text.startswith("building the cache")]) == 1
    assert "30 samples, 15.0 MiB" in said[0]


def test_a_cache_is_listed_and_checked_by_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = in_mode(Mixed(), "cached", cache_root=tmp_path)
    assert cache.main(["list", "--cache", str(tmp_path)]) == 0
    listed = capsys.readouterr().out
    assert "Mixed" in listed
    assert "300 samples" in listed
    assert "in use" in listed
    assert cache.main(["verify", "--cache", str(tmp_path)]) == 0
    assert cache.main(["prune", "--all", "--cache", str(tmp_path)]) == 0
    assert "a process uses it" in capsys.readouterr().out
    kept.close()
    assert cache.main(["prune", "--all", "--cache", str(tmp_path)]) == 0
    assert list_caches(tmp_path) == []


def test_what_content_a_cache_is_of_has_to_be_told(tmp_path: Path) -> None:
    dataset = [torch.tensor(i) for i in range(9)]
    with pytest.raises(ConfigError, match=r"list from others\. Pass key="):
        in_mode(dataset, "cached", cache_root=tmp_path)
    kept = in_mode(dataset, "cached", cache_root=tmp_path, key="a")
    other = in_mode([i + 1 for i in dataset], "cached", cache_root=tmp_path, key="b")
    wider = in_mode([i.expand(2) for i in dataset], "cached", cache_root=tmp_path, key="a")
    assert (kept[3], other[3], wider[3].tolist()) == (3, 4, [3, 3])
    assert isinstance(in_mode(dataset, "eager"), VectorizedDataset)
    with pytest.raises(ConfigError, match="Did you mean 'lazy'"):
        in_mode(dataset, "lazi")


def test_what_is_over_budget_is_refused_before_it_is_made(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(BudgetError, match=r"needs 15\.0 MiB.* allows 1\.0 MiB.*mode='cached'"):
        in_mode(Slow(log), "eager", budget_bytes=2**20)
    for mode in ("cached", "streaming"):
        with pytest.raises(BudgetError, match=r"budget_bytes allows 1\.0 MiB.*mode='lazy'"):
            in_mode(Slow(log), mode, cache_root=tmp_path / "c", budget_bytes=2**20)
    assert set(log.read_text().split()) == {"0", "1"}
    assert list_caches(tmp_path / "c") == []


def test_the_least_recently_used_cache_goes_for_a_new_one(tmp_path: Path) -> None:
    said: list[str] = []
    old = in_mode(Slow(None, 0), "cached", cache_root=tmp_path, key="old")
    with pytest.raises(BudgetError, match="in use"):
        in_mode(Slow(None, 0), "cached", cache_root=tmp_path, key="new", budget_bytes=2**24)
    old.close()
    new = in_mode(
        Slow(None, 0), "cached", cache_root=tmp_path, key="new", budget_bytes=2**24, say=said.append
    )
    assert said[0] == (f"removed the least recently used cache {old.folder.name}, 15.0 MiB, "
                       "to keep budget_bytes")  # fmt: skip
    assert [entry.path for entry in list_caches(tmp_path)] == [new.folder]


class Draws:
    """Samples that differ each time."""

    def __init__(self, how: str) -> None:
        self.how, self.rng = how, np.random.default_rng(0)

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> torch.Tensor:
        drawn = {
            "random": random.random,
            "numpy.random": np.random.rand,
            "torch": lambda: torch.rand(()).item(),
            "a generator of its own": self.rng.random,
        }[self.how]()
        return torch.tensor([index, drawn])

    def fingerprint(self) -> str:
        return self.how


@pytest.mark.parametrize("how", ["random", "numpy.random", "torch", "a generator of its own"])
def test_draws_are_not_kept_unasked(tmp_path: Path, how: str) -> None:
    before = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    for mode in ("eager", "cached", "streaming"):
        with pytest.raises(ConfigError, match=rf"random numbers from {how}\..*freeze=True"):
            in_mode(Draws(how), mode, cache_root=tmp_path)
    after = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    assert after == before
    kept = in_mode(Draws(how), "cached", cache_root=tmp_path, freeze=True)
    assert torch.equal(kept[:], kept[:])
    assert kept[:][:, 0].tolist() == list(range(40))


def test_forked_workers_do_not_all_draw_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_head, "CHUNK_BYTES", 64)
    for how in ("random", "numpy.random", "torch"):
        kept = in_mode(Draws(how), "eager", freeze=True, num_workers=2)
        assert len(set(kept[:][:, 1].tolist())) == 40


def test_workers_fill_ram_and_tell_how_far_they_are() -> None:
    told: list[tuple[int, int]] = []
    for num_workers in (0, 2):
        kept = in_mode(
            Mixed(), "eager", num_workers=num_workers, progress=lambda *d: told.append(d)
        )
        assert same_bits(kept[[5, 299]], default_collate([Mixed()[5], Mixed()[299]]))
        assert told[-1] == (300, 300)


def test_samples_that_make_no_batch_are_refused(tmp_path: Path) -> None:
    for mode in ("eager", "cached", "streaming"):
        with pytest.raises(DataError, match="no numbers"):
            in_mode([{"t": "text"}], mode, cache_root=tmp_path, key="a")
        with pytest.raises(DataError, match="Sample 1 is not like the others"):
            in_mode([torch.zeros(2), torch.zeros(3)], mode, cache_root=tmp_path, key="b")
