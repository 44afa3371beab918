"""The page on wrappers says what its programs print."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

import pytest

from tests.pages import ROOT, blocks_of


def test_programs_of_the_page_print_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = blocks_of(ROOT / "docs" / "wrappers.md")
    names: dict[str, object] = {"__name__": "wrappers"}
    shown = 0
    for block, after in zip(blocks, [*blocks, None][1:], strict=True):
        if block.language != "python":
            continue
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block.text, f"wrappers.md, line {block.line}", "exec"), names)
        wanted = after.text if after is not None and after.language == "text" else ""
        assert printed.getvalue() == wanted, f"line {block.line}"
        shown += bool(wanted)
    assert shown == 5
