"""What `explain=true` prints of machine and plan: a line each, never folded."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from chirpid.cli.explain import print_machine, print_plan_table
from chirpid.loading.hardware import GIB, Machine
from chirpid.loading.plan import Profile, Traits, Wish, make_plan
from chirpid.types import Mode, Policy

MACHINE = Machine(4, 16 * GIB, 12 * GIB, num_physical_cores=2)


def console() -> Console:
    return Console(file=io.StringIO(), width=40, soft_wrap=True, highlight=False)


def said(where: Console) -> list[str]:
    assert isinstance(where.file, io.StringIO)
    return where.file.getvalue().splitlines()


def test_the_plan_is_a_table_with_source_and_reason_of_each_value() -> None:
    made = make_plan(
        machine=MACHINE,
        profile=Profile(),
        wish=Wish(policy=Policy.aggressive, num_workers=9),
        traits=Traits(Mode.lazy, 5000, 2**20, GIB, heavy=True),
        budget_bytes=GIB,
    )
    where = console()
    print_plan_table(where, made)
    head, names, *rows = said(where)
    assert head == "Loader plan"
    assert names.split() == ["setting", "value", "from", "because"]
    assert [row.split(maxsplit=3)[:3] for row in rows[:3]] == [
        ["backend", "threads", "override"], ["num_workers", "4", "clamp"],
        ["prefetch", "8", "policy"],
    ]  # fmt: skip
    assert "this machine has 4 usable cores" in rows[1]
    assert rows[-1].endswith(
        "34 batches at once, 0.0 MiB that the mode holds; 1.0 GiB may be taken"
    )
    assert len(rows) == 8


def test_the_machine_is_one_line_with_the_disks_that_count(tmp_path: Path) -> None:
    where = console()
    print_machine(where, MACHINE, [("caches", tmp_path)])
    (line,) = said(where)
    assert line.startswith(
        "  machine: 4 usable threads of 2 physical cores, 12.0 GiB free of 16.0 GiB, no GPU; "
        "disk of caches: "
    )
