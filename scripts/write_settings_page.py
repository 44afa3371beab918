"""Write docs/settings.md: every setting and option, from the schema and the config tree."""

from __future__ import annotations

from pathlib import Path

from chirpid.cli.help import options_told, show
from chirpid.config.settings import Setting, all_settings, describe_type, docs

PAGE = Path(__file__).parent.parent / "docs" / "settings.md"

HEAD = """\
# Settings

Written by `make docs` from `chirpid/config/schema` and `conf/`; do not edit.
Give a setting as `name=value`, an option as `group=option`; `python train.py --help GROUP` shows
one group. `null` means that the program decides, and `explain=true` says what and why.
"""


def page() -> str:
    """Return the page as Markdown."""
    sections: dict[str, list[Setting]] = {}
    for setting in all_settings().values():
        sections.setdefault(setting.key.rpartition(".")[0], []).append(setting)
    for group in ("experiment", "hparams_search", "debug"):
        sections[group] = []
    return HEAD + "".join(_section(name, settings) for name, settings in sections.items())


def _section(name: str, settings: list[Setting]) -> str:
    lines = ["", f"## {name or 'top level'}", ""]
    if settings:
        lines += ["| setting | default | takes | meaning |", "|---|---|---|---|"]
        lines += [_row(setting) for setting in settings]
    told = options_told(name) if name else {}
    if told:
        blank = [""] if settings else []
        lines += [*blank, *(f"- `{name}={option}`: {text}" for option, text in told.items())]
    return "\n".join(lines) + "\n"


def _row(setting: Setting) -> str:
    meaning = docs(setting.owner)[setting.key.rpartition(".")[2]]
    cells = [f"`{setting.key}`", f"`{show(setting.default)}`", describe_type(setting.annotation),
             meaning]  # fmt: skip
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
