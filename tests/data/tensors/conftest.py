"""What tests of stores share."""

from __future__ import annotations

import pytest

from chirpid.data.tensors import head as store_head


@pytest.fixture
def many_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small stores have some chunks, as large ones have."""
    monkeypatch.setattr(store_head, "CHUNK_BYTES", 2**13)
