"""The guide to collators is run from a clean start, its package installed and used."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

import pytest

from chirpid.data.collate import collators
from chirpid.data.collate.builtin import built_in
from chirpid.data.collate.entry import GROUP
from tests.pages import ROOT, Block, blocks_of, write_files

PAGE = ROOT / "docs" / "collators.md"


def programs() -> list[Block]:
    return [b for b in blocks_of(PAGE) if b.language == "python" and not b.file]


def test_every_block_runs_in_the_order_of_the_page() -> None:
    blocks = programs()
    assert sum("@collators.register" in block.text for block in blocks) == 2  # audio, multimodal
    before = dict(collators._entries)
    names: dict[str, object] = {"__name__": "guide"}
    try:
        for block in blocks:
            exec(compile("\n" * block.line + block.text, str(PAGE), "exec"), names)
        assert {"recordings", "captioned"} <= set(collators.names())
    finally:
        collators._entries.clear()
        collators._entries.update(before)


def test_the_blocks_check_something() -> None:
    assert all("assert " in block.text for block in programs())


def test_the_package_of_the_guide_adds_its_collator(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = blocks_of(PAGE)
    write_files(blocks, tmp_path)
    (text,) = [b.text for b in blocks if b.language == "text"]
    project = tomllib.loads(text)["project"]
    points = project["entry-points"][GROUP]
    info = tmp_path / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [f"{name} = {target}" for name, target in points.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines]) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "wing_beats", None)  # so that it is put back afterwards
    monkeypatch.delitem(sys.modules, "wing_beats")
    (name,) = points
    made = built_in(group=GROUP).make(name, window=3)
    assert made([[1, 2, 3, 4], [5]]).tolist() == [6, 5]


def test_the_table_has_all_that_are_built_in() -> None:
    rows = re.findall(r"^\| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.M)
    assert sorted(rows) == sorted(built_in().names())
