"""Amounts of memory are read as people write them, and a container's limit is heeded."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.data.wrap import budgets
from chirpid.data.wrap.budgets import bytes_of, free_bytes
from chirpid.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "num_bytes"),
    [("2 GiB", 2**31), ("500MB", 500 * 10**6), ("1.5 kib", 1536), ("7", 7), ("3 B", 3), (12, 12),
     ("1T", 10**12)],
)  # fmt: skip
def test_amounts_are_read_as_they_are_written(text: str | int, num_bytes: int) -> None:
    assert bytes_of(text) == num_bytes


@given(st.integers(1, 2**50))
def test_bytes_are_bytes_however_they_are_given(num_bytes: int) -> None:
    assert bytes_of(num_bytes) == bytes_of(str(num_bytes)) == num_bytes
    assert bytes_of(f"{num_bytes} KiB") == 1024 * num_bytes


def test_shares_are_of_the_memory_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgets, "free_bytes", lambda: 1000)
    assert bytes_of(0.25) == bytes_of("25%") == bytes_of("25 %") == 250
    assert bytes_of(1.0) == 1000


@pytest.mark.parametrize("bad", [0, -1, 1.5, 0.0, True, "", "GiB", "-2 GiB", "101%", "2 GB!", None])
def test_what_is_no_amount_is_refused(bad: object) -> None:
    with pytest.raises(ConfigError, match="is no amount of memory"):
        bytes_of(bad)  # type: ignore[arg-type]


def test_free_memory_is_that_of_the_container(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budgets, "_GROUP", tmp_path)
    assert abs(free_bytes() - psutil.virtual_memory().available) < 2**30
    (tmp_path / "memory.max").write_text("5000000\n")
    (tmp_path / "memory.current").write_text("4000000\n")
    (tmp_path / "memory.stat").write_text("anon 3000000\ninactive_file 500000\n")
    assert free_bytes() == 1_500_000
    (tmp_path / "memory.max").write_text("max\n")
    assert free_bytes() > 5_000_000
