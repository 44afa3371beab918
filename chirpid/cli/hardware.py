"""`chirpid hardware`: what this machine has, as a profile for `hardware=`."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from chirpid.cli.guard import run_guarded
from chirpid.errors import ConfigError
from chirpid.storage.atomic import write_text

if TYPE_CHECKING:
    from chirpid.loading.facts import Facts

_NAME = re.compile(r"[A-Za-z0-9][\w.-]*")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command's arguments."""
    result = argparse.ArgumentParser(
        prog="chirpid hardware",
        description="Show what this machine has, within the limits of its container, as a profile "
        "for the group hardware. What is no setting is in the comments. It goes well into a bug "
        "report: there are no names of users, hosts or networks in it.",
    )
    result.add_argument("--save", type=Path, metavar="FILE",
                        help="write it, for example to my_conf/hardware/lab.yaml")  # fmt: skip
    result.add_argument("--path", type=Path, metavar="PATH", action="append", default=[],
                        help="tell the disk of this path, too; may be given again")  # fmt: skip
    result.add_argument("--measure", action="store_true",
                        help="measure what page-locked memory brings for a GPU")  # fmt: skip
    result.add_argument("--json", action="store_true", help="all facts for scripts")
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Print or save the profile and return the exit code."""
    options = parser().parse_args(argv)
    return run_guarded(lambda: _main(options))


def settings_of(facts: Facts, name: str) -> dict[str, object]:
    """Return what was found that `hardware` has settings for; sizes are rounded down."""
    from chirpid.loading.facts import WORTH_PINNING

    machine = facts.machine
    found: dict[str, object] = {
        "name": name,
        "num_cores": machine.num_cores,
        "ram_gib": _gib(machine.ram_bytes),
    }
    if machine.gpu is not None:
        found |= {"gpu": machine.gpu, "gpu_memory_gib": _gib(machine.gpu_bytes)}
    if facts.rates is not None:
        found["pin_memory"] = facts.rates.pinned >= WORTH_PINNING * facts.rates.pageable
    return found


def profile_yaml(facts: Facts, name: str) -> str:
    """Return the profile of a machine as text for a file of the group hardware."""
    import yaml

    rows = list(facts.rows())
    width = max(len(subject) for subject, _ in rows)
    table = "".join(f"#   {subject:<{width}}  {found}\n" for subject, found in rows)
    settings = yaml.safe_dump(settings_of(facts, name), sort_keys=False, allow_unicode=True)
    return (
        f"# A machine as chirpid hardware found it.\n{table}"
        "# Workers and prefetch follow from the cores; numbers that were measured can be added:\n"
        f"# num_workers_heavy, num_workers_light, prefetch_heavy, prefetch_light.\n{settings}"
    )


def _gib(num_bytes: int) -> float:
    return int(num_bytes / 2**30 * 10) / 10  # rounded down: a plan for more would not fit


def _main(options: argparse.Namespace) -> int:
    path: Path | None = options.save
    if path is not None:
        _check_name(path)
    from chirpid.loading.facts import read_facts  # torch takes seconds: wrong names come before

    facts = read_facts(dict.fromkeys([Path(), *options.path]), measure=options.measure)
    name = "this_machine" if path is None else path.stem
    if path is not None:
        write_text(path, profile_yaml(facts, name))
    if options.json:
        found = {"profile": settings_of(facts, name), "facts": facts.plain()}
        print(json.dumps(found, indent=2, ensure_ascii=False))
    elif path is None:
        print(profile_yaml(facts, name), end="")
    else:
        print(f"saved {path}")
        if path.parent.name == "hardware":
            print(f"use it: chirpid train --config-dir {path.parent.parent} hardware={name}")
    return 0


def _check_name(path: Path) -> None:
    if path.suffix != ".yaml" or not _NAME.fullmatch(path.stem):
        raise ConfigError(
            f"--save={path} is no name of a profile. Use letters and digits, and the ending .yaml: "
            "my_conf/hardware/lab.yaml."
        )
    if path.exists():
        raise ConfigError(f"{path} is there already. Remove it, or save under another name.")


if __name__ == "__main__":
    sys.exit(main())
