"""Programs of users pass mypy --strict, and what is wrong in them is found."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import torch
from torch.utils.data import TensorDataset

import chirpid

loader = chirpid.make_loader(TensorDataset(torch.zeros(30, 2)), batch_size=2, seed=1)
for (x,) in loader:
    print(x)
num: int = len(loader)
state: dict[str, object] = loader.state_dict()
loader.load_state_dict(state)
rates: list[float] = [figures["loader/samples_per_s"] for figures in loader.passes]
chirpid.explain(loader)
kept = chirpid.optimize_dataset([1, 2], preload=True)
cached: chirpid.CachedDataset = chirpid.CachedDataset([1, 2], max_memory_usage="1 MiB")
columns = chirpid.VectorizedDataset((torch.zeros(3, 2), torch.zeros(3)))


@chirpid.collators.register("mine")
def mine(samples: list[int]) -> int:
    return len(samples)


number: int = mine([1, 2])
"""
WRONG = """
import chirpid

chirpid.make_loader([1, 2], batch_size="3")
chirpid.make_loaders([1, 2])
number: int = chirpid.make_loader([1, 2]).state_dict()
"""


def test_users_have_types(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    (tmp_path / "right.py").write_text(PROGRAM)
    (tmp_path / "wrong.py").write_text(WRONG)
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", ".cache", "right.py", "wrong.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    lines = run.stdout.splitlines()
    assert not [line for line in lines if line.startswith("right.py")]
    assert [line.rpartition(" [")[2] for line in lines if line.startswith("wrong.py")] == [
        "arg-type]", "attr-defined]", "assignment]",
    ]  # fmt: skip
