"""The benchmark does the same work in every case, and says so in the documented shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from chirpid.bench import timing
from chirpid.bench.timing import Case, compare
from chirpid.cli.bench import main
from chirpid.errors import ConfigError

ROW = {
    "work", "case", "median_s", "spread", "samples_per_s", "ratio", "baseline", "percent_of_limit",
}  # fmt: skip


def test_a_run_writes_a_row_per_case_in_the_documented_shape(tmp_path: Path) -> None:
    out = tmp_path / "bench.json"
    only = ["--only", "cached-f16,lazy-flac", "--samples", "12", "--batch-size", "4"]
    assert main(["loaders", *only, "--seeds", "1", "--output", str(out)]) == 0
    report = json.loads(out.read_text())
    assert report["version"] == 1
    assert report["machine"]["cores"] >= 1
    for work in ("cached-f16", "lazy-flac"):
        rows = {row["case"]: row for row in report["rows"] if row["work"] == work}
        assert {"chirpid", "limit"} < set(rows)
        assert all(set(row) == ROW for row in rows.values())
        baseline = rows[rows["chirpid"]["baseline"]]
        assert baseline["ratio"] == 1.0
        assert rows["limit"]["percent_of_limit"] == 100.0
        for row in rows.values():
            assert row["spread"][0] <= row["median_s"] <= row["spread"][1]


def test_ratios_are_taken_within_a_turn_so_that_a_slow_turn_is_slow_for_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spent = {"base": iter([9.0, 2.0, 200.0, 2.0]), "ours": iter([9.0, 1.0, 100.0, 1.0])}

    def case(name: str) -> Case:
        def run(seed: int) -> Iterator[object]:
            yield name

        return Case("work", name, run)

    def told(batches: Iterator[object]) -> float:
        return next(spent[str(next(batches))])

    monkeypatch.setattr(timing, "time_of_pass", told)
    cases = [case("base"), case("ours")]
    rows = compare(
        cases, baseline="base", limit="base", num_samples=10, seeds=[0, 1, 2], say=lambda line: None
    )
    assert [row.ratio for row in rows] == [1.0, 2.0]
    assert rows[0].median_s == 2.0


def test_an_unknown_work_is_refused_with_a_hint() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'lazy-wav'"):
        main(["loaders", "--only", "lazy-wave"])
