"""A page can have a table for some works beside that of all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chirpid.bench.works import WORKS
from chirpid.cli.bench import main
from chirpid.errors import ConfigError

TINY = ["loaders", "--quick", "--samples", "9", "--batch-size", "4", "--seeds", "1"]
PAGE = Path(__file__).parents[2] / "docs" / "benchmarks.md"


def test_the_table_of_some_works_leaves_the_others_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    whole = "<!-- bench:loaders -->\nall works\n<!-- /bench:loaders -->\n"
    page.write_text(f"{whole}<!-- bench:any-data -->\n<!-- /bench:any-data -->\n")
    wanted = ["--only", "collate-784-arrays", "--section", "any-data", "--markdown", str(page)]
    assert main([*TINY, *wanted]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"{whole}<!-- bench:any-data -->\n`chirpid bench loaders")
    assert "| torch default_collate (baseline) |" in text
    assert {line.split("`")[1] for line in text.splitlines() if line.startswith("| `")} == {
        "collate-784-arrays"
    }


def test_a_section_that_the_page_does_not_have_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("<!-- bench:loaders -->\n<!-- /bench:loaders -->\n")
    wanted = ["--only", "collate-784-arrays", "--section", "other", "--markdown", str(page)]
    with pytest.raises(ConfigError, match="<!-- bench:other -->"):
        main([*TINY, *wanted])


def test_the_command_on_the_page_names_works_that_there_are() -> None:
    shown = re.findall(r"`(chirpid bench loaders --only [^`]+)`", PAGE.read_text(encoding="utf-8"))
    commands = [command for command in shown if "--section any-data" in command]
    assert len(commands) == 2, "the one to type, and the one that made the table"
    for command in commands:
        assert set(command.split("--only ")[1].split()[0].split(",")) <= set(WORKS)
