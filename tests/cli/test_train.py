from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import chirpid
from chirpid.cli.help import group_help, overview
from chirpid.cli.main import COMMANDS
from chirpid.cli.main import main as chirpid_main
from chirpid.cli.train import main, parse_arguments
from chirpid.config.paths import conf_dir
from chirpid.config.settings import all_settings, sections
from chirpid.config.store import compose
from chirpid.errors import ConfigError

SLOW_IMPORTS = ("torch", "torchaudio", "mlflow", "pandas", "sklearn", "matplotlib", "soundfile")
TRAIN = "import sys; from chirpid.cli.train import main; sys.exit(main(sys.argv[1:]))"


def train(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "importtime", "-c", TRAIN, *argv],
        cwd=cwd, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def imported(stderr: str) -> set[str]:
    return {
        line.split("|")[-1].strip().split(".")[0] for line in stderr.splitlines() if "|" in line
    }


def said(stderr: str) -> list[str]:
    return [line for line in stderr.splitlines() if not line.startswith("import time:")]


def test_help_is_quick_and_imports_nothing_slow(tmp_path: Path) -> None:
    run = train("--help", cwd=tmp_path)
    assert run.returncode == 0
    assert not imported(run.stderr) & {*SLOW_IMPORTS, "hydra", "omegaconf", "numpy"}
    assert said(run.stderr) == []


def test_a_typo_costs_one_line_and_exit_code_2_and_no_slow_import(tmp_path: Path) -> None:
    run = train("loader.num_worker=4", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stdout == ""
    (line,) = said(run.stderr)
    assert line.startswith("config error: Unknown setting 'loader.num_worker'. Did you mean")
    assert not imported(run.stderr) & set(SLOW_IMPORTS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "argv",
    [
        ["mode=lzy"],
        ["--config-dir", "nowhere"],
        ["--config-dir"],
        ["--multrun"],
        ["-m", "mode=lazy,lzy"],
        ["-m", "engine.epochs=1,2", "optim.warmup_epochs=2"],
        ["-m", "seed=interval(0,1)"],
        ["--help", "lodaer"],
    ],
)
def test_wrong_command_lines_end_with_one_line_and_exit_code_2(
    argv: list[str],
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("config error: ")
    assert captured.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_group_and_option_and_marks_the_default() -> None:
    text = overview("python train.py")
    for path in conf_dir().glob("*/*.yaml"):
        if path.parent.name != "local":
            assert re.search(rf"^  {path.parent.name} .*\b{path.stem}\b", text, re.MULTILINE), path
    config = compose().config
    assert f"{config.mode.name.value}*" in text
    assert f"{config.model.name}*" in text
    assert all(len(line) <= 100 for line in text.splitlines())


@pytest.mark.parametrize("section", sections())
def test_help_on_a_group_names_each_of_its_settings(section: str) -> None:
    text = group_help(section)
    for key in all_settings():
        if key.startswith(f"{section}."):
            assert f"  {key} = " in text


def test_examples_of_the_help_compose() -> None:
    examples = re.findall(r"^  X(?: (\S.*?))?(?: {2,}.*)?$", overview("X"), re.MULTILINE)
    assert len(examples) == 7
    for example in examples:
        words = [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', example)]
        if words and words[0] != "-m":
            compose(words)


def test_flags_and_overrides_come_in_any_order() -> None:
    found = parse_arguments(["a=1", "-m", "--config-dir", "c", "b=2", "--explain"])
    assert found.overrides == ["a=1", "b=2", "explain=true"]
    assert found.sweep
    assert found.config_dir == Path("c")
    assert parse_arguments(["--config-dir=c"]).config_dir == Path("c")


def test_an_unknown_flag_is_refused_with_the_closest_one() -> None:
    with pytest.raises(ConfigError, match="Did you mean '--multirun'"):
        parse_arguments(["--multrun"])


def test_cfg_prints_a_config_that_is_read_back_alike(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from chirpid.config.store import load

    assert main(["--cfg", "mode=lazy"]) == 0
    path = tmp_path / "config.yaml"
    path.write_text(capsys.readouterr().out, encoding="utf-8")
    assert load(path).config == compose(["mode=lazy"]).config


def test_version_and_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == chirpid_main(["--version"]) == 0
    assert capsys.readouterr().out == f"chirpid {chirpid.__version__}\n" * 2
    assert chirpid_main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in COMMANDS)
    assert chirpid_main([]) == 2
    assert chirpid_main(["trian"]) == 2
    assert "Did you mean 'train'?" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_a_module_with_help(command: str, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "chirpid.cli.main", command, "--help"],
        cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, "COLUMNS": "100"},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert command in run.stdout
    assert list(tmp_path.iterdir()) == []
