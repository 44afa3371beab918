"""Checkpoints are whole or absent, and what is damaged is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from chirpid.engine import checkpoint
from chirpid.errors import StorageError
from tests.examples import examples


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    state = {"weights": {"a": torch.randn(3)}, "epoch": 2, "history": [{"loss": 0.5}]}
    checkpoint.save(tmp_path / "folds/0/c.pt", state)
    found = checkpoint.load(tmp_path / "folds/0/c.pt")
    assert found is not None
    assert torch.equal(found["weights"]["a"], state["weights"]["a"])  # type: ignore[index]
    assert (found["epoch"], found["history"]) == (2, [{"loss": 0.5}])
    assert [path.name for path in (tmp_path / "folds/0").iterdir()] == ["c.pt"]


def test_where_there_is_none_nothing_is_loaded(tmp_path: Path) -> None:
    assert checkpoint.load(tmp_path / "none.pt") is None


def test_what_another_version_wrote_is_told_in_one_line(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c.pt", {"epoch": 2, "timeline": torch.zeros(3)})
    assert checkpoint.load(tmp_path / "c.pt", ("timeline", "epoch")) is not None
    with pytest.raises(StorageError) as caught:
        checkpoint.load(tmp_path / "c.pt", ("epoch", "recording"))
    assert str(caught.value) == (
        f"{tmp_path / 'c.pt'} was written by another version of chirpid (other content: "
        "recording, timeline). Resume with that version, or start anew without resume."
    )


@settings(max_examples=examples(40), deadline=None)
@given(data=st.data())
def test_any_cut_or_scratch_is_noticed_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Never another exception, and never other numbers than those saved."""
    path = tmp_path_factory.mktemp("c") / "c.pt"
    values = torch.arange(300, dtype=torch.float64)
    checkpoint.save(path, {"values": values})
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans(), label="cut"):
        content = content[: data.draw(st.integers(0, len(content) - 1), label="at")]
    else:
        content[data.draw(st.integers(0, len(content) - 1), label="at")] ^= 0xFF
    path.write_bytes(bytes(content))
    try:
        found = checkpoint.load(path)
    except StorageError as error:
        said = str(error)
    else:
        assert found is not None
        assert all(torch.equal(value, values) for value in found.values())
        return
    assert "\n" not in said
    assert "is damaged" in said


def test_dropout_draws_on_from_where_it_was() -> None:
    torch.manual_seed(3)
    torch.rand(5)
    state = checkpoint.rng_state()
    wanted = torch.rand(5)
    torch.manual_seed(4)
    checkpoint.set_rng_state(state)
    assert torch.equal(torch.rand(5), wanted)
