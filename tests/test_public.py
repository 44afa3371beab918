"""The names of the package are there, and those that type checkers see are the same."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import chirpid


def test_type_checkers_see_the_names_that_there_are() -> None:
    tree = ast.parse(Path(chirpid.__file__).read_text(encoding="utf-8"))
    homes = {
        alias.asname: f"{node.module}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.asname
    }
    assert homes == chirpid._HOMES


@pytest.mark.parametrize("name", sorted(chirpid._HOMES))
def test_a_public_name_is_there(name: str) -> None:
    assert getattr(chirpid, name) is not None
    assert name in dir(chirpid)


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="no attribute 'make_loaders'"):
        chirpid.make_loaders  # noqa: B018
