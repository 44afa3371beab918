"""Progress is a bar on a terminal, and a line from time to time in a log."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from chirpid.cli.progress import progress_bar


def lines(*steps: int, total: int = 1000, **options) -> list[str]:
    out = io.StringIO()
    with progress_bar(Console(file=out, width=200), "segments", **options) as told:
        for done in steps:
            told(done, total)
    return out.getvalue().splitlines()


def test_a_log_gets_lines_with_rate_and_time_left_and_none_when_done() -> None:
    said = lines(0, 100, 500, 1000, line_every_s=0.0)
    assert len(said) == 2
    assert said[0].startswith("segments: 100 of 1000, ")
    assert said[1].startswith("segments: 500 of 1000, ")
    assert said[1].endswith(" left")
    assert " per second, " in said[1]


def test_what_was_there_before_is_no_work() -> None:
    assert lines(900, 900, line_every_s=0.0) == []


def test_short_work_is_silent() -> None:
    assert lines(0, 100, 500, 1000) == []


def test_bytes_are_told_in_mebibytes() -> None:
    said = lines(0, 5 * 2**20, total=2**24, in_bytes=True, line_every_s=0.0)
    assert said[0].startswith("segments: 5 of 16 MiB, ")


@pytest.mark.parametrize("in_bytes", [False, True])
def test_a_terminal_gets_a_bar(in_bytes: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=120)
    with progress_bar(console, "segments", in_bytes=in_bytes) as told:
        for done in (0, 2**20, 2**21):
            told(done, 2**21)
    assert "segments" in out.getvalue()
    assert "━" in out.getvalue()
