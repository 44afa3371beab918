"""What a probe found is found again, and nothing else is taken for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chirpid.loading.tune import Measured
from chirpid.loading.tune.choose import trial_key
from chirpid.loading.tune.memory import (
    MAX_AGE_S,
    Found,
    forget,
    probe_key,
    recall,
    remember,
)
from chirpid.types import Mode
from tests.loading.tune.costs import COSTS, INLINE, threads

TRIALS = {
    trial_key(INLINE[Mode.cached]): Measured(0.05, 0.01, 7),
    trial_key(threads(Mode.lazy)): Measured(0.07, 0.5, 5),
}


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    remember(tmp_path, "key", Found(COSTS, TRIALS, made_at=1e9), {"dataset": "demo"})
    return tmp_path


def test_what_was_found_comes_back_bit_for_bit(kept: Path) -> None:
    found = recall(kept, "key", now=1e9 + 1)
    assert found is not None
    assert (found.costs, found.trials, found.made_at) == (COSTS, TRIALS, 1e9)


def test_what_is_old_is_asked_anew_and_so_is_the_future(kept: Path) -> None:
    assert recall(kept, "key", now=1e9 + MAX_AGE_S - 1) is not None
    assert recall(kept, "key", now=1e9 + MAX_AGE_S + 1) is None
    assert recall(kept, "key", now=1e9 - 1) is None  # a clock that was put back


@pytest.mark.parametrize(
    "damage",
    [
        lambda plain: plain.update(version=0),
        lambda plain: plain.pop("costs"),
        lambda plain: plain["costs"].pop("step_s"),
        lambda plain: plain["costs"].update(step_s="quick"),
        lambda plain: plain["costs"].update(gather_s=-1.0),
        lambda plain: plain["costs"].update(step_s=0.0),
        lambda plain: plain["costs"].update(batch_size=0),
        lambda plain: plain["costs"].update(other=1.0),
        lambda plain: plain["trials"][0].update(batch_s=float("nan")),
        lambda plain: plain["trials"][0].update(backend="pigeons"),
        lambda plain: plain.update(trials=7),
    ],
)
def test_what_is_damaged_is_not_believed(kept: Path, damage) -> None:
    path = kept / "key.json"
    plain = json.loads(path.read_text())
    damage(plain)
    path.write_text(json.dumps(plain))
    assert recall(kept, "key", now=1e9 + 1) is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_file_that_is_something_else_is_no_memory(kept: Path, content: bytes) -> None:
    (kept / "key.json").write_bytes(content)
    assert recall(kept, "key", now=1e9 + 1) is None


def test_what_is_forgotten_is_gone_and_may_be_forgotten_twice(kept: Path) -> None:
    forget(kept, "key")
    assert recall(kept, "key", now=1e9 + 1) is None
    forget(kept, "key")


def test_a_folder_that_cannot_be_written_costs_nothing_but_the_memory(tmp_path: Path) -> None:
    (tmp_path / "probes").write_text("a file")
    remember(tmp_path / "probes", "key", Found(COSTS), {})
    assert recall(tmp_path / "probes", "key") is None


def test_any_other_fact_is_another_probe() -> None:
    facts = {"machine": ["Zen 4", 2], "rows": "abc", "batch": [32, None]}
    keys = {probe_key(facts), probe_key(dict(reversed(facts.items())))}
    assert len(keys) == 1
    for name in facts:
        keys.add(probe_key({**facts, name: "other"}))
    assert len(keys) == 1 + len(facts)
