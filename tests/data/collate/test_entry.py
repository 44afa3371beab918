"""Collators of other packages, really installed in a folder of `sys.path`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from chirpid.data.collate import CollatorRegistry
from chirpid.data.collate.builtin import built_in
from chirpid.data.collate.entry import GROUP
from chirpid.errors import ConfigError

CODE = """
print("loaded")

def pairs(samples, *, swap=False):
    return [pair[::-1] if swap else pair for pair in samples]

class Triples:
    def __call__(self, samples):
        return len(samples)

number = 5
"""

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """A function that installs a package as an installer does: code, metadata, entry points."""
    monkeypatch.syspath_prepend(tmp_path)

    def do(package: str, code: str = CODE, **collators: str) -> None:
        (tmp_path / f"{package}.py").write_text(code, encoding="utf-8")
        info = tmp_path / f"{package}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n")
        lines = [f"{name} = {package}:{thing}" for name, thing in collators.items()]
        (info / "entry_points.txt").write_text(f"[{GROUP}]\n" + "\n".join(lines) + "\n")
        monkeypatch.delitem(sys.modules, package, raising=False)

    return do


def test_a_package_adds_a_collator(install: Install) -> None:
    install("birds_on_wire", pairs="pairs", triples="Triples")
    registry = built_in(group=GROUP)
    assert {"pairs", "triples", "vision"} <= set(registry.names())
    assert registry.make("pairs", swap=True)([(1, 2)]) == [(2, 1)]
    assert registry.make("triples")([1, 2]) == 2


def test_packages_are_loaded_when_they_are_asked_for_and_not_before(
    install: Install, capsys: pytest.CaptureFixture[str]
) -> None:
    install("birds_on_wire", pairs="pairs")
    registry = built_in(group=GROUP)
    assert "pairs" in registry.names()
    registry.make("vision")
    assert "birds_on_wire" not in sys.modules
    registry.get("pairs")
    assert capsys.readouterr().out == "loaded\n"


def test_a_package_that_is_installed_later_is_found(install: Install) -> None:
    registry = built_in(group=GROUP)
    with pytest.raises(ConfigError, match="Unknown collator 'pairs'"):
        registry.get("pairs")
    install("birds_on_wire", pairs="pairs")
    assert registry.make("pairs")([1]) == [1]


@pytest.mark.parametrize(
    ("code", "thing", "told"),
    [
        ("import not_there_at_all", "pairs", "ModuleNotFoundError: No module named 'not_there_at"),
        ("1 / 0", "pairs", "ZeroDivisionError: division by zero"),
        (CODE, "quads", "AttributeError: module 'broken_wing' has no attribute 'quads'"),
    ],
)
def test_a_broken_package_breaks_its_own_name_alone(
    install: Install, code: str, thing: str, told: str
) -> None:
    install("broken_wing", code, bad=thing)
    registry = built_in(group=GROUP)
    assert "bad" in registry.names()
    registry.make("audio")
    with pytest.raises(ConfigError, match=r"Unknown collator 'badly'\. Did you mean 'bad'"):
        registry.make("badly")
    with pytest.raises(ConfigError) as error:
        registry.make("bad")
    line = error.value.line()
    assert "Collator 'bad' of package broken_wing 1.2 cannot be loaded from broken_wing:" in line
    assert told in line
    assert "Update or uninstall" in line
    assert "\n" not in line


def test_what_a_package_brings_must_be_a_collator(install: Install) -> None:
    install("birds_on_wire", number="number")
    with pytest.raises(ConfigError, match=r"Collator 'number' of package birds_on_wire 1\.2 is"):
        built_in(group=GROUP).get("number")


def test_two_packages_with_one_name_are_both_named(install: Install) -> None:
    install("birds_on_wire", pairs="pairs")
    install("crows_on_wire", pairs="pairs")
    with pytest.raises(ConfigError) as error:
        built_in(group=GROUP).get("pairs")
    for package in ("birds_on_wire 1.2", "crows_on_wire 1.2"):
        assert package in str(error.value)


def test_a_package_cannot_take_a_name_that_is_taken(install: Install) -> None:
    install("birds_on_wire", vision="pairs")
    registry = built_in(group=GROUP)
    with pytest.warns(UserWarning, match=r"Package birds_on_wire 1\.2 brings a collator 'vision'"):
        assert registry.get("vision") is built_in().get("vision")
    registry.register("vision", replace=True)(print)
    assert registry.get("vision") is print


def test_a_registry_without_a_group_asks_no_package(install: Install) -> None:
    install("birds_on_wire", pairs="pairs")
    assert CollatorRegistry().names() == ()
