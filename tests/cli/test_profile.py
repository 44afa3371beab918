"""`chirpid profile` measures, says what it found, and leaves nothing behind but the probe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chirpid.cli.main import main
from chirpid.loading import factory
from tests.page_commands import DEMO, FAST


@pytest.mark.parametrize("mode", ["lazy", "cached"])
def test_a_profile_tells_stages_that_add_up_and_leaves_no_run_and_no_cache(
    mode: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*FAST, *DEMO, f"mode={mode}", f"paths.outputs={tmp_path / 'outputs'}"]
    assert main(["profile", *words, "--seconds", "0.5", "--json", str(tmp_path / "p.json")]) == 0
    assert not (tmp_path / "outputs" / "runs").exists()
    assert not list((tmp_path / "outputs").rglob("rows.bin"))
    assert len(list((tmp_path / "outputs").rglob("probes/*.json"))) == 1
    told = json.loads((tmp_path / "p.json").read_text())
    stages = {one["stage"]: one["ms_per_sample"] for one in told["stages"]}
    fetching = [one for one in told["stages"] if one["who"] not in ("CPU", "GPU")]
    fetched = sum(one["ms_per_sample"] for one in fetching) - stages.get("hand-over", 0.0)
    whole = sum(stages.values()) / (1 - 0.005 * 7)  # bars of under half a percent are left out
    assert told["fetch_ms_per_sample"] - 0.035 * whole <= fetched
    assert fetched <= told["fetch_ms_per_sample"] * (1 + 1e-9)
    assert ("decode" in stages) == (mode == "lazy")
    assert told["setting"]["mode"] == mode
    assert all(rate > 0 for rate in told["samples_per_s"].values())
    out = capsys.readouterr().out
    assert told["advice"]["sentence"] in out
    (taken,) = (line for line in out.splitlines() if line.endswith("<- taken"))
    assert taken.split()[-3] == "tried"
    # The first batch, for which workers are waited for, is in the row and not in the rate.
    assert float(taken.split()[4]) <= told["samples_per_s"]["both"] + 1
    assert ("nothing is built" in out) == (mode == "cached")


def test_what_took_the_place_of_workers_is_what_is_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(factory, "workers_can_start", lambda method: "there is no shared memory")
    words = [*FAST, *DEMO, "mode=lazy", "loader.backend=processes", "loader.num_workers=1"]
    place = [f"paths.outputs={tmp_path / 'outputs'}", "--json", str(tmp_path / "p.json")]
    assert main(["profile", *words, *place, "--seconds", "0.5"]) == 0
    out, told = capsys.readouterr().out, json.loads((tmp_path / "p.json").read_text())
    assert "backend processes -> threads: there is no shared memory" in out
    assert told["setting"]["backend"] == "threads"
    (taken,) = (line for line in out.splitlines() if line.endswith("<- taken"))
    assert taken.split()[1] == "threads"


def test_what_cannot_be_profiled_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["profile", "mode=lazzy"]) == 2
    assert main(["profile", "mode=lazy,cached"]) == 2
    assert main(["profile", "engine=asha_of_mine"]) == 2
    assert capsys.readouterr().err.count("config error: ") == 3


def test_figures_that_cannot_be_written_are_told_with_where_to_put_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [*FAST, *DEMO, f"paths.outputs={tmp_path / 'outputs'}", "mode=lazy"]
    assert main(["profile", *words, "--seconds", "0.5", "--json", str(tmp_path)]) == 1
    said = capsys.readouterr().err
    assert f"Cannot write {tmp_path}: Is a directory. Give --json a file" in said
    assert "paths.outputs" not in said
