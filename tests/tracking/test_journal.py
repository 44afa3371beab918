from __future__ import annotations

import resource
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chirpid.errors import StorageError
from chirpid.tracking.journal import JournalWriter, read_events, whole_bytes

TEXTS = st.text(max_size=30)
EVENTS = st.lists(st.dictionaries(TEXTS, TEXTS | st.integers() | st.floats(allow_nan=False),
                                  max_size=4), min_size=1, max_size=6)  # fmt: skip


def write(path: Path, values: list[object]) -> None:
    writer = JournalWriter(path)
    for value in values:
        writer.append({"kind": "params", "run": "r", "values": value})
    writer.close()


def values_of(path: Path) -> list[object]:
    return [event["values"] for event, _ in read_events(path) if event]


@given(values=EVENTS, cut=st.integers(min_value=1))
def test_a_journal_cut_anywhere_keeps_all_whole_lines_and_can_go_on(
    tmp_path_factory: pytest.TempPathFactory, values: list[object], cut: int
) -> None:
    path = tmp_path_factory.mktemp("journal") / "tracking.jsonl"
    write(path, values)
    whole = path.read_bytes()
    path.write_bytes(whole[: cut % len(whole)])
    num_whole = path.read_bytes().count(b"\n")
    write(path, [{"after": "the crash"}])
    assert values_of(path) == [*values[:num_whole], {"after": "the crash"}]


def test_reading_goes_on_where_it_ended(tmp_path: Path) -> None:
    path = tmp_path / "tracking.jsonl"
    write(path, [{"n": 1}, {"n": 2}])
    (_, middle), (_, end) = read_events(path)
    assert end == whole_bytes(path) == path.stat().st_size
    assert [event and event["values"] for event, _ in read_events(path, middle)] == [{"n": 2}]


def test_a_damaged_line_is_skipped_and_the_next_are_read(tmp_path: Path) -> None:
    path = tmp_path / "tracking.jsonl"
    write(path, [{"n": 1}])
    with open(path, "ab") as handle:
        handle.write(b'\x00\x00\xff{"kind"\n[1]\n')
    write(path, [{"n": 2}])
    assert [event is None for event, _ in read_events(path)] == [False, True, True, False]
    assert values_of(path) == [{"n": 1}, {"n": 2}]


def test_events_survive_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "tracking.jsonl"
    writer = JournalWriter(path)
    writer.append({"kind": "params", "values": 0})
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # In the middle of the next line, as a disk fills up.
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 10, limits[1]))
    try:
        for value in (1, 2):
            writer.append({"kind": "params", "values": value})
        trouble = writer.trouble
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert trouble is not None
    assert str(path) in trouble
    writer.append({"kind": "params", "values": 3})
    writer.close()
    assert writer.trouble is None
    assert values_of(path) == [0, 1, 2, 3]


def test_a_folder_that_cannot_be_written_is_told_before_the_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"Cannot write .*tracking\.jsonl"):
        JournalWriter(tmp_path / "file" / "run" / "tracking.jsonl")
