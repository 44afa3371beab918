"""What README and docs show is run: every command, every program, every shape, every link."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import torch

from chirpid.config.settings import all_settings
from chirpid.config.store import options_of
from tests.page_commands import FAST, Ended, call, uses_demo
from tests.page_sets import write_sets
from tests.pages import PAGES, ROOT, SHOWN, anchors_of, blocks_of, prose_of, write_files

LANGUAGES = {"sh", "python", "yaml", "text", "json", "csv"}

NOT_RUN = {
    "make train": "makes an environment and trains for minutes; `python train.py` below it is run",
    "make test": "runs this test",
    "make bench": "measures for minutes; tests/bench/test_bench.py runs it on little",
    "make ui": "serves until Ctrl-C; tests/tracking/test_ui.py opens it",
}
"""Commands that are only looked up: their target must be in the Makefile."""
EXIT_CODES = {"chirpid sync": 1}
"""Commands that end otherwise here: the server of the example never comes back."""

LONGER = {"advice:": "a run of so few batches gets none; tests/cli/test_advising.py prints it"}
"""What the shown run prints and the shortened one of the tests does not."""

DEMO_RUN = "python train.py"

ERRORS = {"config error:": 2, "data error:": 2, "storage error:": 1, "training error:": 1}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders that the pages name."""
    place = tmp_path_factory.mktemp("recordings")
    write_sets(place)
    return place


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache that all pages share; afterwards torch has its threads back."""
    threads = torch.get_num_threads()
    yield tmp_path_factory.mktemp("cache")
    torch.set_num_threads(threads)


@pytest.fixture
def workplace(
    recordings: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """An empty folder with the recordings in it."""
    for folder in recordings.iterdir():
        (tmp_path / folder.name).symlink_to(folder)
    link_cache(tmp_path, cache)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])  # a run adds the folder that it is started in
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


def link_cache(place: Path, cache: Path) -> None:
    (place / "outputs").mkdir()
    (place / "outputs" / "cache").symlink_to(cache)


def check_ended(command: str, ended: Ended, shown: str | None) -> None:
    """Check exit code and output against the block below the command."""
    told = f"{command}\n{ended.out}\n{ended.err}"
    first = (shown or "").split("\n", 1)[0]
    kind = next((kind for kind in ERRORS if first.startswith(kind)), None)
    if kind is None:
        assert ended.code == EXIT_CODES.get(command, 0), told
        for word in first_words(shown or ""):
            if word in LONGER:
                continue
            assert any(line.strip().startswith(word) for line in ended.out.splitlines()), (
                f"{word!r} is shown below a command that does not print it: {told}"
            )
        return
    assert ended.code == ERRORS[kind], told
    expected = (shown or "").replace("$PWD", os.getcwd()).strip()
    said = ended.err.strip()
    if uses_demo(command):  # the demo set is smaller here
        expected, said = (re.sub(r"\d+(\.\d+)?", "N", text) for text in (expected, said))
    assert said == expected


def first_words(shown: str) -> list[str]:
    """Return how each line of an output begins, up to the first number."""
    words = [re.split(r"\d", line.split()[0])[0] for line in shown.splitlines() if line.split()]
    return [word for word in words if word and word != "..." and word[0] != "─"]


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_what_a_page_shows_runs(
    page: Path, workplace: Path, request: pytest.FixtureRequest
) -> None:
    blocks = blocks_of(page)
    write_files(blocks, workplace)
    names: dict[str, object] = {"__name__": page.stem}
    if page.name == "run-folder.md":  # it reads a run and starts none
        (workplace / "outputs" / "runs").symlink_to(request.getfixturevalue("demo_run").parent)
    for block, after in zip(blocks, [*blocks, None][1:], strict=True):
        shown = after.text if after is not None and after.language == "text" else None
        if block.language == "sh":
            for command in block.commands:
                command = command.split(" # ")[0].strip()
                if command not in NOT_RUN:
                    is_last = command == block.commands[-1].split(" # ")[0].strip()
                    run = request.getfixturevalue("demo_call") if command == DEMO_RUN else None
                    check_ended(command, run or call(command), shown if is_last else None)
        elif block.language == "python" and not block.file:
            with contextlib.redirect_stdout(io.StringIO()):
                code = compile("\n" * block.line + block.text, str(page), "exec")
                exec(code, names)
    if page.name == "run-folder.md":
        check_predictions(workplace, names)


def check_predictions(workplace: Path, names: dict[str, object]) -> None:
    """The program of the page comes to the figures of predictions.csv."""
    run = next((workplace / "outputs" / "runs").iterdir())
    table = pd.read_csv(run / "predictions.csv")
    table = table[table.fold == 0]
    (demo,) = (workplace / "outputs" / "cache" / "demo").iterdir()
    assert len(table)
    for row in table.to_dict("records"):
        predicted = names["predict"](demo / row["recording"])  # type: ignore[operator]
        for name, probability in predicted.items():
            assert probability == pytest.approx(row[f"p_{name}"], abs=0.02)


def test_a_command_runs_in_a_real_shell(workplace: Path) -> None:
    """The one that leans most on its surroundings: code and options of the user's own."""
    blocks = blocks_of(ROOT / "README.md")
    write_files(blocks, workplace)
    (command,) = [c for b in blocks for c in b.commands if "--config-dir my_conf" in c]
    (workplace / "train.py").symlink_to(ROOT / "train.py")
    (workplace / "conf").symlink_to(ROOT / "conf")
    fast = shlex.join([*FAST, "cv.folds=[0]", "tracking=off"])
    run = subprocess.run(
        f"{command.replace('python', shlex.quote(sys.executable), 1)} {fast}",
        shell=True, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "data: field, 20 recordings" in run.stdout
    assert run.stderr == ""


@pytest.fixture(scope="module")
def demo_place(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder for a run of the demo set."""
    place = tmp_path_factory.mktemp("demo")
    link_cache(place, cache)
    return place


@pytest.fixture(scope="module")
def demo_call(demo_place: Path) -> Ended:
    """A tracked run of the demo set, with its plots: one for all that looks at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(demo_place)
        return call(DEMO_RUN)


@pytest.fixture(scope="module")
def demo_run(demo_place: Path, demo_call: Ended) -> Path:
    """The folder of that run."""
    assert demo_call.code == 0, demo_call.err
    (run,) = (demo_place / "outputs" / "runs").iterdir()
    return run


def shape(value: object) -> object:
    """Return a JSON value without its figures; of a list, what its first item looks like.

    Figures of a GPU are there where there is one.
    """
    if isinstance(value, dict):
        return {key: shape(below) for key, below in value.items() if not key.startswith("gpu_")}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return None


def blocks_under_files(language: str) -> list[tuple[str, str]]:
    page = ROOT / "docs" / "run-folder.md"
    return [(b.heading.strip("`"), b.text) for b in blocks_of(page) if b.language == language]


def test_documented_json_has_the_keys_that_a_run_writes(demo_run: Path) -> None:
    documented = blocks_under_files("json")
    assert {name for name, _ in documented} == {"results.json", "state.json"}
    for name, text in documented:
        written = json.loads((demo_run / name).read_text(encoding="utf-8"))
        assert shape(json.loads(text)) == shape(written), name
        assert json.loads(text)["version"] == written["version"]


def test_documented_csv_has_the_columns_that_a_run_writes(demo_run: Path) -> None:
    documented = blocks_under_files("csv")
    assert {name for name, _ in documented} == {"splits.csv", "predictions.csv"}
    for name, text in documented:
        rows = list(csv.reader(text.splitlines()))
        with open(demo_run / name, encoding="utf-8", newline="") as handle:
            written = next(csv.reader(handle))
        fixed = [column for column in rows[0] if not column.startswith("p_")]
        assert [column for column in written if not column.startswith("p_")] == fixed
        assert len(written) > len(fixed) or name == "splits.csv"
        assert {len(row) for row in rows} == {len(rows[0])}


def test_documented_files_are_those_that_a_run_writes(demo_run: Path) -> None:
    page = (ROOT / "docs" / "run-folder.md").read_text(encoding="utf-8")
    section = page.split("## What lies in it")[1].split("\n## ")[0]
    documented = set(re.findall(r"^\| `([^`]+)`", section, re.M)) - {"git.diff"}
    written = {
        re.sub(r"^folds/\d+/", "folds/<k>/", path.relative_to(demo_run).as_posix())
        for path in demo_run.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    }
    assert documented == written


def test_documented_loader_figures_are_those_that_are_measured(demo_run: Path) -> None:
    page = (ROOT / "docs" / "loading.md").read_text(encoding="utf-8")
    section = page.split("## What is measured")[1].split("\n## ")[0]
    documented = {
        name
        for row in re.findall(r"^\| (`.+?) \|", section, re.M)
        for name in re.findall(r"`(\w+)`", row)
    }
    results = json.loads((demo_run / "results.json").read_text(encoding="utf-8"))
    measured = set(results["folds"][0]["loader"])
    assert measured <= documented
    # Other modes, a GPU, a loader with workers.
    elsewhere = re.compile(r"\w+_ms_per_sample|num_cache_\w+|gpu_\w+|worker_busy_\w+")
    assert [name for name in documented - measured if not elsewhere.fullmatch(name)] == []


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_blocks_are_of_a_kind_that_is_checked(page: Path) -> None:
    for block in blocks_of(page):
        assert block.language in LANGUAGES, f"{page.name}, line {block.line}"
        if block.language == "yaml":
            assert block.file, f"{page.name}, line {block.line}: name the file in its first line"


def test_commands_that_are_not_run_are_shown_and_exist() -> None:
    shown = {
        c.split(" # ")[0].strip() for page in SHOWN for b in blocks_of(page) for c in b.commands
    }
    assert NOT_RUN.keys() <= shown
    assert EXIT_CODES.keys() <= shown
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for command in NOT_RUN:
        assert re.search(rf"^{command.removeprefix('make ')}:", makefile, re.M), command


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(page)):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        there = page.parent / path if path else page
        assert there.exists(), f"{page.name} links to {target}"
        if anchor:
            assert anchor in anchors_of(there), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", SHOWN, ids=lambda page: page.name)
def test_settings_and_options_in_the_text_exist(page: Path) -> None:
    settings, groups = all_settings(), {key.split(".")[0] for key in all_settings()}
    for name in re.findall(r"`([a-z_]+(?:\.[a-z_]+)+)(?:=[^`]*)?`", prose_of(page)):
        if name.split(".")[0] in groups and not name.endswith((".json", ".jsonl")):
            assert name in settings, f"{page.name}: there is no setting {name}"
    for name, value in re.findall(r"`([a-z_]+)=([\w.]+)`", prose_of(page)):
        if name not in settings and name != "weights_only":
            assert value in options_of(name), f"{page.name}: there is no option {name}={value}"
