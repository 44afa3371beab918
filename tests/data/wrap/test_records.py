"""Records come as they lie in the file, past the page cache or through it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from chirpid.data.wrap.cached import CachedDataset
from chirpid.data.wrap.records import RecordFile
from chirpid.errors import DataError
from chirpid.storage import direct
from chirpid.storage.direct import NoDirectError
from tests.at_once import at_once
from tests.data.wrap.alike import same

RECORD = np.dtype([("label", "u1"), ("image", "u1", (7,)), ("size", "<f4"), ("place", "<i8", (2,))])
SAMPLE = {"label": np.uint8(0), "image": np.zeros(7, np.uint8), "size": np.float32(0),
          "place": np.zeros(2, np.int64)}  # fmt: skip


@pytest.fixture
def table() -> Any:
    rng = np.random.default_rng(0)
    return np.frombuffer(rng.bytes(3000 * RECORD.itemsize), RECORD)


@pytest.fixture
def path(table: Any, tmp_path: Path) -> Path:
    table.tofile(tmp_path / "records.bin")
    return tmp_path / "records.bin"


@pytest.fixture(params=["direct", "asked for plain", "no direct reads"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "no direct reads":

        def refuse(*_: Any) -> Any:
            raise NoDirectError("the file system of here has no O_DIRECT")

        monkeypatch.setattr(direct, "_open", refuse)
    return str(request.param)


def opened(path: Path, way: str) -> RecordFile:
    said: list[str] = []
    file = RecordFile(path, SAMPLE, direct=way != "asked for plain", say=said.append)
    if way == "no direct reads":
        assert said == ["direct=True -> plain reads: the file system of here has no O_DIRECT"]
    elif way == "direct" and said:
        pytest.skip(said[0])
    assert file.is_direct is (way == "direct")
    return file


def test_records_are_those_of_the_file(path: Path, way: str, table: Any) -> None:
    file = opened(path, way)
    assert len(file) == 3000
    ids = np.random.default_rng(1).integers(0, 3000, 50)
    batch = file.layout.empty(50)
    file.read_into(ids, batch)
    for name, column in batch.tree().items():
        assert column.numpy().tobytes() == table[ids][name].tobytes()
    assert file[-1]["label"] == table[-1]["label"]
    with pytest.raises(IndexError):
        file.read_into(np.array([3000]), file.layout.empty(1))
    file.close()
    assert file[7]["label"] == table[7]["label"]
    file.close()


def test_workers_threads_and_copies_read_the_same(path: Path, table: Any) -> None:
    file = RecordFile(path, SAMPLE, say=lambda _: None)
    _ = file[3]
    loader = DataLoader(file, batch_size=100, num_workers=2, multiprocessing_context="fork")
    assert torch.cat([batch["label"] for batch in loader]).tolist() == table["label"].tolist()
    assert same(pickle.loads(pickle.dumps(file))[5], file[5])
    assert same(CachedDataset(file)[5], file[5])
    bad: list[int] = []

    def read(seed: int) -> None:
        batch = file.layout.empty(64)
        for ids in np.random.default_rng(seed).integers(0, 3000, (10, 64)):
            file.read_into(ids, batch)
            bad.extend(ids[batch.tensors[0].numpy() != table["label"][ids]])

    at_once(read, 3)
    assert not bad
    file.close()


def test_fingerprint_changes_with_the_file(path: Path) -> None:
    before = RecordFile(path, SAMPLE, direct=False).fingerprint()
    assert RecordFile(path, SAMPLE, direct=False).fingerprint() == before
    path.write_bytes(path.read_bytes()[RECORD.itemsize :])
    assert RecordFile(path, SAMPLE, direct=False).fingerprint() != before


def test_files_that_are_no_records_are_refused(path: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no file"):
        RecordFile(tmp_path / "none.bin", SAMPLE)
    with pytest.raises(DataError, match="label is str"):
        RecordFile(path, {"label": "a"})
    path.write_bytes(b"12345")
    with pytest.raises(DataError, match="has 5 bytes, which is no whole number of records of 28"):
        RecordFile(path, SAMPLE)
    path.write_bytes(b"")
    assert len(RecordFile(path, SAMPLE)) == 0
