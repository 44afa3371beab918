from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from chirpid.config.settings import all_settings

ROOT = Path(__file__).parent.parent


def test_the_settings_page_says_what_the_schema_says() -> None:
    page = ROOT / "docs" / "settings.md"
    if not page.is_file():
        pytest.skip("installed without docs")
    script = runpy.run_path(str(ROOT / "scripts" / "write_settings_page.py"))
    text = script["page"]()
    assert page.read_text(encoding="utf-8") == text, "run: make docs"
    assert all(f"`{key}`" in text for key in all_settings())


def test_every_option_opens_with_a_comment_that_says_what_it_is_for() -> None:
    from chirpid.cli.help import options_told
    from chirpid.config.paths import conf_dir

    for group in sorted(path.name for path in conf_dir().iterdir() if path.is_dir()):
        if group != "local":
            assert all(options_told(group).values()), group
