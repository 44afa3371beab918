"""Where a run ran: versions, machine and the state of the code. Imports no heavy library."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

_PACKAGES = ("torch", "torchaudio", "numpy", "soundfile", "mlflow")
_MOST_DIFF = 200_000  # characters


def environment() -> dict[str, str]:
    """Return versions and machine, as texts; what cannot be found out is left out."""
    from chirpid import __version__, native

    found = {"chirpid": __version__, "kernels": native.describe(),
             "python": platform.python_version(), "platform": platform.platform(),
             "cpu": _cpu_name(),
             "cores": str(_num_cores()), "ram_gib": _ram_gib(), "gpu": _gpu_names()}  # fmt: skip
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return {name: value for name, value in found.items() if value}


def _num_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _ram_gib() -> str:
    import psutil

    return f"{psutil.virtual_memory().total / 2**30:.1f}"


def _gpu_names() -> str:
    """Return the names of the GPUs by NVIDIA's library, without starting CUDA."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - no library, no driver, no GPU: each raises its own kind
        return ""
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        names = [pynvml.nvmlDeviceGetName(handle) for handle in handles]
    finally:
        pynvml.nvmlShutdown()
    return ", ".join(n.decode() if isinstance(n, bytes) else str(n) for n in names)


def git_state(folder: Path) -> dict[str, str]:
    """Return commit, branch, `dirty` and the difference to the commit; empty outside of git.

    `diff` is capped at 200,000 characters and ends with a line that says so.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return {}
    diff = _git(folder, "diff", "HEAD", "--no-color", "--no-ext-diff", "--no-textconv") or ""
    if len(diff) > _MOST_DIFF:
        diff = f"{diff[:_MOST_DIFF]}\n[cut off: {len(diff)} characters in all]\n"
    untracked = _git(folder, "ls-files", "--others", "--exclude-standard", "--directory") or ""
    return {
        "commit": commit.strip(),
        "branch": (_git(folder, "rev-parse", "--abbrev-ref", "HEAD") or "").strip(),
        "dirty": str(bool(diff)).lower(),
        "untracked": str(len(untracked.splitlines())),
        "diff": diff,
    }


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says, None where git or a repository is absent or does not answer."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            capture_output=True, timeout=10, check=True, stdin=subprocess.DEVNULL,
            # Reading the state must not take the lock that a commit needs.
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode(errors="replace")


def run_tags(state: dict[str, str]) -> dict[str, str]:
    """Return MLflow tags for a state from `git_state`: the UI shows the commit beside the run."""
    tags = {"mlflow.source.name": os.path.basename(sys.argv[0]) or "chirpid"}
    if state:
        tags["mlflow.source.git.commit"] = state["commit"]
        tags["mlflow.source.git.branch"] = state["branch"]
        tags["git.dirty"] = state["dirty"]
    return tags
