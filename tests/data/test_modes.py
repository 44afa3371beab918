"""Modes: budgets are checked before work, and pickles stay small."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from chirpid.audio.frontend import FrontEnd
from chirpid.data.datasets import check_shared_memory
from chirpid.data.rows import RowMaker
from chirpid.errors import BudgetError, DataError, StorageError
from chirpid.storage.caches import list_caches, remove
from chirpid.storage.facts import rounding_error
from chirpid.types import Keep, Mode, StoreDtype
from tests.at_once import at_once
from tests.sounds import write_set
from tests.storage.builder import flip_byte
from tests.workbench import FRONTEND, dataset_of, maker_of, segments_of


@pytest.mark.parametrize("mode", list(Mode))
def test_ids_are_checked_and_sequences_end(maker: RowMaker, tmp_path: Path, mode: Mode) -> None:
    dataset = dataset_of(mode, maker, tmp_path)
    count = len(dataset)
    for wrong in ([count], [-1], [0, 10**12]):
        with pytest.raises(IndexError, match="segments from 0"):
            dataset.fetch(np.array(wrong))
    assert torch.equal(dataset[-1], dataset[count - 1])
    assert sum(1 for _ in dataset) == count
    empty, _ = dataset.fetch(np.array([], dtype=np.int64))
    assert empty.shape == (0, *maker.spec.shape)
    rows, _ = dataset.fetch(np.arange(count)[::-2])
    assert torch.equal(rows[0], dataset[count - 1])
    dataset.close()
    dataset.close()


@pytest.mark.parametrize("mode", list(Mode))
def test_a_pickled_dataset_is_small_and_delivers_the_same(
    maker: RowMaker, tmp_path: Path, mode: Mode
) -> None:
    dataset = dataset_of(mode, maker, tmp_path)
    data = pickle.dumps(dataset)
    if mode is not Mode.eager:
        assert len(data) < 60_000
    again = pickle.loads(data)
    ids = np.array([3, 0, len(dataset) - 1])
    assert torch.equal(again.fetch(ids)[0], dataset.fetch(ids)[0])
    again.close()
    dataset.close()


def test_the_pickle_of_a_cache_does_not_grow_with_it(tmp_path: Path) -> None:
    few = maker_of(segments_of(write_set(tmp_path / "few", groups=1)))
    many = maker_of(segments_of(write_set(tmp_path / "many", groups=6)))
    sizes = [len(pickle.dumps(dataset_of(Mode.cached, m, tmp_path / "c"))) for m in (few, many)]
    assert abs(sizes[0] - sizes[1]) < 20


@pytest.mark.parametrize("mode", [Mode.cached, Mode.streaming])
def test_an_open_dataset_keeps_its_store_and_a_closed_one_does_not(
    maker: RowMaker, tmp_path: Path, mode: Mode
) -> None:
    dataset = dataset_of(mode, maker, tmp_path)
    (entry,) = list_caches(tmp_path)
    assert entry.complete
    assert not remove(entry)
    dataset.close()
    assert remove(entry)
    assert list_caches(tmp_path) == []


@pytest.mark.parametrize("mode", [Mode.cached, Mode.streaming])
def test_a_store_is_made_once_and_opened_after(
    maker: RowMaker, tmp_path: Path, mode: Mode, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset_of(mode, maker, tmp_path).close()

    def never(*_: object) -> None:
        raise AssertionError("made again")

    monkeypatch.setattr(RowMaker, "make_range", never)
    dataset_of(mode, maker, tmp_path).close()


@pytest.mark.parametrize("mode", [Mode.cached, Mode.streaming])
def test_building_tells_its_size_before_and_its_error_after(
    maker: RowMaker, tmp_path: Path, mode: Mode
) -> None:
    made = maker_of(maker.segments, dtype=StoreDtype.uint8)
    said: list[str] = []
    dataset_of(mode, made, tmp_path, say=said.append).close()
    assert len(said) == 2
    assert re.fullmatch(r"building the cache \w+(-7)?: 0\.1 MiB; mode\.cache_gib allows 1\.0 GiB",
                        said[0])  # fmt: skip
    built, _, cost = said[1].partition("; uint8: ")
    assert re.fullmatch(r"built 36 segments in [\d.]+ s \(\d+ per second\)", built)
    assert re.fullmatch(r"0\.2\d? dB off at most, 0\.1\d? dB rms, nothing clipped", cost)
    (entry,) = list_caches(tmp_path)
    error = rounding_error(entry.about)
    assert error is not None
    assert error.num_rows == 5, "every eighth of 36"
    assert 0.05 < error.rms < error.worst <= made.spec.scale / 2 * 1.001
    dataset_of(mode, made, tmp_path, say=said.append).close()
    assert len(said) == 2, "a whole cache is not worth a line"


def test_eager_reads_what_a_cache_holds_and_makes_the_rest(
    maker: RowMaker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = dataset_of(Mode.eager, maker, tmp_path / "none")
    cached = dataset_of(Mode.cached, maker, tmp_path)
    said: list[str] = []
    with monkeypatch.context() as patch:
        patch.setattr(RowMaker, "make_range", _never)
        for share in (False, True):
            again = dataset_of(Mode.eager, maker, tmp_path, share=share, say=said.append)
            assert torch.equal(again.rows, alone.rows)
            assert again.rows.is_shared() == share
    assert len(said) == 2
    assert said[0].endswith(": nothing is decoded")
    cached.close()
    (cached.folder / "meta.json").unlink()
    dataset_of(Mode.eager, maker, tmp_path, say=said.append)
    assert len(said) == 2, "half a cache is not read"


def test_eager_does_not_take_damaged_rows_from_a_cache(maker: RowMaker, tmp_path: Path) -> None:
    cached = dataset_of(Mode.cached, maker, tmp_path)
    cached.close()
    flip_byte(cached.folder / "rows.bin", 1000)
    with pytest.raises(StorageError, match=f"chirpid cache verify {cached.folder.name}") as caught:
        dataset_of(Mode.eager, maker, tmp_path)
    assert "\n" not in caught.value.line()


def _never(*_: object, **__: object) -> None:
    raise AssertionError("rows were made")


@pytest.mark.parametrize(
    ("mode", "options", "says"),
    [
        (Mode.eager, {"ram_bytes": 1000}, "Use mode=cached"),
        (Mode.cached, {"cache_bytes": 1000}, "Raise mode.cache_gib"),
        (Mode.streaming, {"cache_bytes": 1000}, "Raise mode.cache_gib"),
        (Mode.streaming, {"ram_bytes": 1000}, "Lower mode.window_segments"),
    ],
)
def test_over_budget_is_one_line_before_any_recording_is_read(
    maker: RowMaker, tmp_path: Path, mode, options, says, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a recording was read")

    monkeypatch.setattr(RowMaker, "make_range", never)
    with pytest.raises(BudgetError, match=says) as caught:
        dataset_of(mode, maker, tmp_path, **options)
    assert "\n" not in caught.value.line()
    assert list_caches(tmp_path) == []


def test_an_older_cache_goes_for_a_new_one_and_it_is_told(
    maker: RowMaker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from chirpid.data.modes import StoreOptions, open_dataset

    def opened(key: str, said: list[str]) -> None:
        size = maker.spec.row_bytes * len(maker.segments)
        options = StoreOptions(tmp_path, int(1.5 * size), 2**30, 1, 7, 14)
        open_dataset(Mode.cached, maker, key=key, about={}, options=options,
                     say=said.append).close()  # fmt: skip

    said: list[str] = []
    opened("first", said)
    opened("second", said)
    assert [entry.path.name for entry in list_caches(tmp_path)] == ["second"]
    removed = [line for line in said if line.startswith("removed")]
    assert len(removed) == 1
    assert removed[0].startswith("removed the least recently used cache first")


@pytest.mark.parametrize("mode", [Mode.lazy, Mode.eager, Mode.cached, Mode.streaming])
def test_a_recording_that_has_gone_is_named(tmp_path: Path, mode: Mode) -> None:
    folder = write_set(tmp_path / "set", groups=1)
    maker = maker_of(segments_of(folder))
    gone = folder / maker.segments.recordings[1]
    gone.unlink()

    def use() -> None:
        dataset = dataset_of(mode, maker, tmp_path / "cache")
        dataset.fetch(np.arange(len(dataset)))

    with pytest.raises(DataError, match=gone.name):
        use()


def test_a_cache_place_that_is_a_file_is_one_line(maker: RowMaker, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for mode in (Mode.cached, Mode.streaming):
        with pytest.raises(StorageError, match="Cannot write"):
            dataset_of(mode, maker, tmp_path / "file")


def test_a_damaged_shard_is_named_when_it_is_read(maker: RowMaker, tmp_path: Path) -> None:
    dataset = dataset_of(Mode.streaming, maker, tmp_path)
    path = dataset.window.files.path(1)
    data = bytearray(path.read_bytes())
    data[500] ^= 1
    path.write_bytes(bytes(data))
    dataset.fetch(np.array([0]))
    with pytest.raises(StorageError, match=path.name):
        dataset.fetch(np.array([7]))
    dataset.close()


def test_threads_share_a_dataset_without_mixing_rows(maker: RowMaker, tmp_path: Path) -> None:
    for mode in Mode:
        dataset = dataset_of(mode, maker, tmp_path, window_segments=8)
        whole = dataset.fetch(np.arange(len(dataset)))[0].clone()
        errors: list[object] = []

        def often(seed: int, dataset=dataset, whole=whole, errors=errors) -> None:
            rng = np.random.default_rng(seed)
            for _ in range(15):
                ids = rng.integers(0, len(whole), 6)
                rows, _ = dataset.fetch(ids)
                if not torch.equal(rows, whole[torch.from_numpy(ids)]):
                    errors.append((dataset.mode, ids))

        at_once(often, 3)
        dataset.close()
        assert errors == []


def test_too_little_shared_memory_is_told_before_it_kills(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match=r"shared memory.*loader\.backend=threads"):
        check_shared_memory(2**60, tmp_path)
    check_shared_memory(1, tmp_path)
    check_shared_memory(2**60, tmp_path / "no such place")


def test_shared_rows_are_the_same_rows(maker: RowMaker, tmp_path: Path) -> None:
    shared = dataset_of(Mode.eager, maker, tmp_path, share=True)
    assert shared.rows.is_shared()
    plain = dataset_of(Mode.eager, maker, tmp_path)
    assert torch.equal(shared.rows, plain.rows)


def test_a_front_end_left_in_training_or_on_inference_changes_nothing(maker: RowMaker) -> None:
    frontend = FrontEnd(**FRONTEND).train()
    again = RowMaker(maker.segments, frontend, keep=Keep.spectrogram, dtype=StoreDtype.float16)
    one, other = (torch.empty(maker.spec.shape, dtype=torch.float16) for _ in range(2))
    with torch.inference_mode():
        again.make(2, one, {})
    maker.make(2, other, {})
    assert torch.equal(one, other)
