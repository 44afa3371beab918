"""The list of all settings, read off the schema: key, type, default and docstring."""

from __future__ import annotations

import ast
import dataclasses
import enum
import inspect
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from chirpid.config import schema


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as the schema declares it."""

    key: str
    """Dotted: loader.num_workers."""
    annotation: Any
    default: object
    owner: type
    """The dataclass that declares it."""

    @property
    def is_free(self) -> bool:
        """True for mappings such as model.params, whose keys are not ours to know."""
        return typing.get_origin(self.annotation) is dict

    @property
    def item(self) -> type | None:
        """The dataclass of the items of a list such as dataset.mix; None for other types."""
        return _item(_without_none(self.annotation))

    @property
    def is_text(self) -> bool:
        """True for settings that take any text, such as dataset.root."""
        return _without_none(self.annotation) is str

    @property
    def choices(self) -> tuple[str, ...]:
        """Names of the choices of an enum; empty for other types."""
        return _members(self.annotation)


@cache
def all_settings() -> dict[str, Setting]:
    """Return every setting of `RootConfig` by its dotted key, in the order of the schema."""
    return {setting.key: setting for setting in _walk(schema.RootConfig, "")}


@cache
def sections() -> tuple[str, ...]:
    """Return the dotted names of all groups of settings: loader, dataset, dataset.demo, ..."""
    found = dict.fromkeys(
        key.rsplit(".", n)[0] for key in all_settings() for n in range(1, key.count(".") + 1)
    )
    return tuple(found)


def siblings(section: str) -> list[str]:
    """Return the names of settings and groups directly in a section ("" is the root)."""
    prefix = f"{section}." if section else ""
    below = (key[len(prefix) :] for key in all_settings() if key.startswith(prefix))
    return list(dict.fromkeys(key.split(".")[0] for key in below))


def flatten(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested mappings as dotted keys; lists and empty mappings are values."""
    flat: dict[str, Any] = {}
    for name, value in content.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and value:
            flat.update(flatten(value, f"{key}."))
        else:
            flat[key] = value
    return flat


def describe_type(annotation: Any) -> str:
    """Return a type in words: "a whole number or null", "one of: lazy, eager"."""
    kind = _without_none(annotation)
    or_null = " or null" if kind is not annotation else ""
    if names := _members(annotation):
        return f"one of {', '.join(names)}{or_null}"
    if item := _item(kind):
        hints = typing.get_type_hints(item)
        fields = ", ".join(f"{one}: {describe_type(hint)}" for one, hint in hints.items())
        return f"a list like [{{{fields}}}]{or_null}"
    if typing.get_origin(kind) is list:
        return f"a list like [0,1]{or_null}"
    if typing.get_origin(kind) is dict:
        return f"a mapping like {{a: 1}}{or_null}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words.get(kind, str(kind)) + or_null


@cache
def docs(owner: type) -> dict[str, str]:
    """Return the docstring below each field of a dataclass, as one line; undocumented: ""."""
    tree = ast.parse(inspect.getsource(owner))
    body = typing.cast(ast.ClassDef, tree.body[0]).body
    found = {}
    for field, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            found[field.target.id] = _text_of(after)
    return found


def _text_of(node: ast.stmt | None) -> str:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return " ".join(str(node.value.value).split())
    return ""


def _walk(owner: type, prefix: str) -> Iterator[Setting]:
    hints = typing.get_type_hints(owner)
    for field in dataclasses.fields(owner):
        annotation = hints[field.name]
        if dataclasses.is_dataclass(annotation):
            yield from _walk(typing.cast(type, annotation), f"{prefix}{field.name}.")
        else:
            yield Setting(f"{prefix}{field.name}", annotation, _default(field), owner)


def _default(field: dataclasses.Field[Any]) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) not in (types.UnionType, typing.Union):
        return annotation
    kinds = [kind for kind in typing.get_args(annotation) if kind is not type(None)]
    return kinds[0] if len(kinds) == 1 else annotation


def _item(kind: Any) -> type | None:
    (item,) = typing.get_args(kind) if typing.get_origin(kind) is list else (None,)
    return typing.cast(type, item) if dataclasses.is_dataclass(item) else None


def _members(annotation: Any) -> tuple[str, ...]:
    kind = _without_none(annotation)
    if inspect.isclass(kind) and issubclass(kind, enum.Enum):
        return tuple(kind.__members__)
    return ()
