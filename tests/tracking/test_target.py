from __future__ import annotations

from pathlib import Path

import pytest

from chirpid.errors import ConfigError
from chirpid.tracking import open_tracker
from chirpid.tracking.target import Target, parse_target


def parse(uri: str | None, outputs: Path = Path("outputs")) -> tuple[Target, dict[str, str]]:
    return parse_target(uri, outputs=outputs, experiment="e", timeout_s=1.0)


def test_a_password_never_reaches_the_journal(tmp_path: Path) -> None:
    target, secrets = parse("https://jane:s3cret@mlflow.example:8443/path")
    assert target.uri == "https://mlflow.example:8443/path"
    assert secrets == {"MLFLOW_TRACKING_USERNAME": "jane", "MLFLOW_TRACKING_PASSWORD": "s3cret"}
    said: list[str] = []
    tracker = open_tracker("mlflow", folder=tmp_path, outputs=tmp_path, send=False,
                           uri="http://jane:s3cret@127.0.0.1:9/", say=said.append)  # fmt: skip
    tracker.close()
    journal = (tmp_path / "tracking.jsonl").read_text()
    assert "127.0.0.1:9" in journal
    assert "s3cret" not in journal
    assert "s3cret" not in "".join(said)


@pytest.mark.parametrize("uri", ["localhost:5000", "mlflow.db", "", "http//x"])
def test_what_is_no_address_is_refused_with_what_to_write(uri: str) -> None:
    with pytest.raises(ConfigError, match=r"Use http://HOST:PORT"):
        parse(uri)


def test_an_outputs_folder_that_sqlite_cannot_name_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"\?"):
        parse(None, Path("what?"))


def test_a_relative_store_means_the_same_from_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    target, _ = parse("sqlite:///store/my.db")
    assert target.sqlite_file == tmp_path / "store" / "my.db"


def test_an_unknown_kind_of_tracker_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wandb"):
        open_tracker("wandb", folder=tmp_path, outputs=tmp_path)


def test_tracking_off_leaves_no_trace(tmp_path: Path) -> None:
    tracker = open_tracker("off", folder=tmp_path / "run", outputs=tmp_path)
    run = tracker.start_run("run", parent=tracker.find_or_start("s", "sweep"))
    tracker.log_params(run, {"a": 1})
    tracker.log_metrics(run, {"b": 1.0}, step=0)
    tracker.log_file(run, tmp_path / "missing")
    tracker.set_tags(run, {"c": "d"})
    tracker.end_run(run, "FINISHED")
    assert tracker.flush(0.0)
    assert tracker.server_run_id(run) is None
    tracker.close()
    assert list(tmp_path.iterdir()) == []
