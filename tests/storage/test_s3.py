"""A set in a bucket: written, gone on with, read and streamed through a server that speaks S3."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from chirpid.errors import StorageError
from chirpid.storage.remote import Place, open_place
from chirpid.storage.remote_shards import RemoteShards
from chirpid.storage.shard_set import read_index, write_set
from chirpid.storage.shard_window import ShardWindow
from chirpid.storage.shards import shard_bytes, shard_name
from tests.storage.builder import LAYOUT, expected
from tests.storage.test_rowstore import fill

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of botocore and moto


@pytest.fixture
def options(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = moto_server.ThreadedMotoServer(port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    yield {"endpoint_url": f"http://127.0.0.1:{port}"}
    server.stop()


@pytest.fixture
def place(options: dict[str, object], request: pytest.FixtureRequest) -> Place:
    # Buckets outlive their server, within a process.
    address = f"s3://birds/{request.node.name}/set"
    opened = open_place(address, options, attempts=2, pause_s=0.01)
    opened._files.makedirs("birds", exist_ok=True)
    return opened


def write(place: Place, key: str = "k") -> int:
    files = {"table": b"some table"}
    return write_set(place, LAYOUT, fill, about={"a": 1}, files=files, rows_key=key, num_threads=2)


def test_a_set_is_written_gone_on_with_and_streamed(place: Place, tmp_path: Path) -> None:
    assert place.sizes() == {}
    with pytest.raises(StorageError, match=r"no whole set of shards at s3://birds/.*/set"):
        read_index(place)
    assert write(place) == LAYOUT.num_chunks
    first = place.sizes()
    assert write(place) == 0
    place._files.rm(place.where("index.json"))
    place._files.rm(place.where(shard_name(3)))
    assert write(place) == 1
    assert place.sizes() == first
    with pytest.raises(StorageError, match="holds another set"):
        write(place, "other")
    size = shard_bytes(LAYOUT, 0)
    files = RemoteShards(place, LAYOUT, read_index(place).checksums, folder=tmp_path / "c",
                         budget_bytes=8 * size)  # fmt: skip
    window = ShardWindow(files, kept=3, ahead=2)
    window.expect([np.array([10 * s]) for s in range(LAYOUT.num_chunks)])
    for shard in range(LAYOUT.num_chunks):
        rows = window.take([shard])[0][shard].rows
        window.reached(shard)
        assert torch.equal(rows, expected()[10 * shard : 10 * shard + 10])
    window.close()


def test_a_shard_that_is_gone_or_swapped_is_named(place: Place, tmp_path: Path) -> None:
    write(place)
    place.write(shard_name(2), place.read(shard_name(1)))
    place._files.rm(place.where(shard_name(4)))
    files = RemoteShards(place, LAYOUT, read_index(place).checksums, folder=tmp_path / "c",
                         budget_bytes=10**6)  # fmt: skip
    window = ShardWindow(files, kept=3)
    with pytest.raises(StorageError, match=r"s3://birds/.*/set/shard-00002\.bin.*another set"):
        window.take([2])
    with pytest.raises(StorageError, match=r"s3://birds/.*/set/shard-00004\.bin is missing"):
        window.take([4])
    window.close()


def test_a_bucket_that_is_not_there_is_one_line(options: dict[str, object]) -> None:
    nowhere = open_place("s3://no-such-bucket/set", options, attempts=2, pause_s=0.01)
    with pytest.raises(StorageError, match="s3://no-such-bucket/set"):
        write(nowhere)
