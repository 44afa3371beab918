"""What the page on samplers prints is what it says."""

from __future__ import annotations

import contextlib
import io
from itertools import pairwise

from tests.pages import ROOT, blocks_of


def test_the_page_prints_what_it_shows() -> None:
    page = ROOT / "docs" / "samplers.md"
    names: dict[str, object] = {"__name__": "samplers"}
    blocks = blocks_of(page)
    assert [block.language for block in blocks] == ["python", "text"] * (len(blocks) // 2)
    for program, shown in list(pairwise(blocks))[::2]:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile("\n" * program.line + program.text, str(page), "exec"), names)
        assert printed.getvalue() == shown.text, f"{page.name}, line {program.line}"
