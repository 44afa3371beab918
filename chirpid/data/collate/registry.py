"""Collators by name: the ones that are built in, your own, and those of other packages."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar, cast

from chirpid.data.collate.default import Collator
from chirpid.data.collate.entry import EntryPoints
from chirpid.data.collate.looks import Choice, modality_of
from chirpid.errors import ConfigError, did_you_mean

T = TypeVar("T", bound=Callable[..., Any])


class CollatorRegistry:
    """Collators by name.

    An entry is a class, whose objects are collators, or a function that is one. Classes take
    settings as they are made; functions take their keyword arguments as settings.
    """

    def __init__(self, *, group: str | None = None) -> None:
        """Make an empty registry.

        Args:
            group: entry points through which packages add collators; None for none.
        """
        self._entries: dict[str, Callable[..., Any]] = {}
        self._replaced: set[str] = set()
        self._plugins = EntryPoints(group) if group is not None else None

    def register(self, name: str, *, replace: bool = False) -> Callable[[T], T]:
        """Return a decorator that gives a class or a function this name, and returns it.

        Args:
            replace: take the name from what has it.
        Raises:
            ConfigError: the name is taken or empty, or what is decorated is no collator.
        """
        if not isinstance(name, str) or not name:
            raise ConfigError(
                f"A collator needs a name, and {name!r} is none. Write "
                '@registry.register("name"), with the name in brackets.'
            )
        if name in self._entries and not replace:
            raise ConfigError(
                f"Collator '{name}' is there already: {_told(self._entries[name])}. Take another "
                "name, or register with replace=True."
            )

        def add(entry: T) -> T:
            _check(entry, f"'{name}'")
            self._entries[name] = entry
            if replace:
                self._replaced.add(name)
            return entry

        return add

    def names(self) -> tuple[str, ...]:
        """Return all names, sorted; what packages bring is not loaded for that."""
        brought = self._plugins.names() if self._plugins is not None else ()
        return tuple(sorted({*self._entries, *brought}))

    def __contains__(self, name: object) -> bool:
        return name in self.names()

    def get(self, name: str) -> Callable[..., Any]:
        """Return the class or function of a name.

        Raises:
            ConfigError: there is none, or the package that brings it is broken.
        """
        if name in self._entries:
            self._warn_of_namesake(name)
            return self._entries[name]
        if self._plugins is not None and name not in self._plugins.names():
            self._plugins.names(again=True)
        if self._plugins is None or name not in self._plugins.names():
            known = self.names()
            raise ConfigError(
                f"Unknown collator '{name}'.{did_you_mean(str(name), known)} Registered: "
                f"{', '.join(known) or 'none'}."
            )
        loaded: Any = self._plugins.load(name)
        _check(loaded, f"'{name}' of package {self._plugins.packages(name)[0]}")
        entry: Callable[..., Any] = loaded
        return entry

    def make(self, name: str, **settings: Any) -> Collator:
        """Return a collator: `make("vision", normalise="imagenet")`.

        Raises:
            ConfigError: there is no such name or setting, or a setting is missing or wrong.
        """
        entry = self.get(name)
        _check_settings(name, entry, settings)
        if inspect.isclass(entry):
            made: Any = entry(**settings)
            return cast("Collator", made)
        return functools.partial(entry, **settings) if settings else entry

    def select(self, sample: Any) -> Choice:
        """Return the name of the collator that fits a sample, and what about it says so.

        A modality that this registry does not have is `default`.
        """
        choice = modality_of(sample)
        if choice.name in self:
            return choice
        return Choice("default", f"{choice.why}; there is no collator '{choice.name}' here")

    def _warn_of_namesake(self, name: str) -> None:
        brought = self._plugins.packages(name) if self._plugins is not None else ()
        if brought and name not in self._replaced:
            warnings.warn(
                f"Package {', '.join(brought)} brings a collator '{name}', which is not used: "
                f"{_told(self._entries[name])} has the name.",
                stacklevel=3,
            )


def _check(entry: object, what: str) -> None:
    can = callable(entry)
    if inspect.isclass(entry):
        # Of a class, `callable` only says that objects can be made of it.
        can = any("__call__" in base.__dict__ for base in entry.__mro__)
    if not can:
        raise ConfigError(
            f"Collator {what} is {_told(entry)}, which cannot be called with a list of samples. "
            "Register a function of it, or a class with __call__."
        )


def _check_settings(name: str, entry: Callable[..., Any], settings: dict[str, Any]) -> None:
    try:
        known = dict(inspect.signature(entry).parameters)
    except ValueError:  # some functions in C, such as torch.stack, do not tell
        return
    if not inspect.isclass(entry):
        known = dict(list(known.items())[1:])  # the first takes the samples
    if not any(each.kind is each.VAR_KEYWORD for each in known.values()):
        for setting in settings:
            if setting not in known:
                raise ConfigError(
                    f"Collator '{name}' has no setting '{setting}'."
                    f"{did_you_mean(setting, list(known))} Settings: {', '.join(known) or 'none'}."
                )
    needed = [
        key for key, each in known.items()
        if each.default is each.empty and each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)
    ]  # fmt: skip
    lacking = [key for key in needed if key not in settings]
    if lacking:
        raise ConfigError(
            f"Collator '{name}' needs a setting '{lacking[0]}', as in "
            f"make('{name}', {lacking[0]}=...)."
        )


def _told(entry: object) -> str:
    where = getattr(entry, "__module__", type(entry).__module__)
    return f"{where}.{getattr(entry, '__qualname__', type(entry).__qualname__)}"
