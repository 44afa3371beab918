"""Whole runs of which nobody looks at the plots."""

from __future__ import annotations

import pytest

from tests.e2e.line import leave_out_plots


@pytest.fixture
def _no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    leave_out_plots(monkeypatch)
