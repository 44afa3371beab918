"""`chirpid hardware`: what this machine has, as a profile for `hardware=`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from pathlib import Path

from chirpid import native
from chirpid.cli.guard import run_guarded
from chirpid.errors import ConfigError
from chirpid.loading.hardware import GIB, Machine, read_machine
from chirpid.storage.atomic import write_text

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    result = argparse.ArgumentParser(
        prog="chirpid hardware",
        description="Show what this machine has, within the limits of its container, as a profile "
        "for the group hardware.",
    )
    result.add_argument("--save", type=Path, metavar="PATH",
                        help="write it, for example to my_conf/hardware/lab.yaml")  # fmt: skip
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Print or save the profile and return the exit code."""
    options = parser().parse_args(argv)
    return run_guarded(lambda: _main(options.save))


def profile_yaml(machine: Machine, name: str) -> str:
    """Return the profile of a machine as text for a file of the group hardware."""
    import yaml

    facts: dict[str, object] = {
        "name": name,
        "num_cores": machine.num_cores,
        "ram_gib": _gib(machine.ram_bytes),
    }
    if machine.gpu is not None:
        facts |= {"gpu": machine.gpu, "gpu_memory_gib": _gib(machine.gpu_bytes)}
    head = (
        f"# {machine.free_bytes / GIB:.1f} GiB of memory were free. Workers and prefetch follow\n"
        "# from the cores; numbers that were measured can be added: num_workers_heavy, ...\n"
        f"# Kernels: {native.describe()}.\n"
    )
    return head + str(yaml.safe_dump(facts, sort_keys=False, allow_unicode=True))


def _gib(num_bytes: int) -> float:
    return int(num_bytes / GIB * 10) / 10  # rounded down: a plan for more would not fit


def _main(path: Path | None) -> int:
    if path is None:
        print(profile_yaml(read_machine(), "this_machine"), end="")
        return 0
    if path.suffix != ".yaml" or not _NAME.fullmatch(path.stem):
        raise ConfigError(
            f"--save={path} is no name of a profile. Use letters and digits, and the ending .yaml: "
            "my_conf/hardware/lab.yaml."
        )
    if path.exists():
        raise ConfigError(f"{path} is there already. Remove it, or save under another name.")
    write_text(path, profile_yaml(read_machine(), path.stem))
    print(f"saved {path}")
    if path.parent.name == "hardware":
        print(f"use it: chirpid train --config-dir {path.parent.parent} hardware={path.stem}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
