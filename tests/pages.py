"""The pages that users read, taken apart: blocks, prose, headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
SHOWN = [page for page in PAGES if page.name not in ("settings.md", "CONTRIBUTING.md")]
"""Pages that show commands; the settings are written by a program that has a test of its own."""


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, and the heading that it stands under."""

    language: str
    text: str
    heading: str
    line: int

    @property
    def file(self) -> str | None:
        """The file that the block is, if it opens with a comment that says so."""
        named = re.match(r"(?:# @package \w+\n)?# ([\w./-]+\.(?:py|yaml))\n", self.text)
        return named[1] if named and self.language in ("python", "yaml") else None

    @property
    def commands(self) -> list[str]:
        """The command lines of the block."""
        return [line for line in self.text.splitlines() if line.strip()]


def blocks_of(page: Path) -> list[Block]:
    found, heading, opened, lines = [], "", None, []
    for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1):
        if opened is not None:
            if line.strip() == "```":
                found.append(Block(opened[0], "\n".join(lines) + "\n", heading, opened[1]))
                opened, lines = None, []
            else:
                lines.append(line)
        elif line.startswith("```"):
            opened = (line[3:].strip(), number)
        elif line.startswith("#"):
            heading = line.lstrip("# ")
    assert opened is None, f"{page.name}: the block of line {opened} does not end"
    return found


def prose_of(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def anchors_of(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.M)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def write_files(blocks: list[Block], folder: Path) -> None:
    for block in blocks:
        if block.file:
            (folder / block.file).parent.mkdir(parents=True, exist_ok=True)
            (folder / block.file).write_text(block.text, encoding="utf-8")
