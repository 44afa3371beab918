"""Collators that other packages bring, found through entry points and loaded when asked for."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from chirpid.errors import ConfigError

GROUP = "chirpid.collators"
"""The group of entry points in the `pyproject.toml` of a package that brings collators."""


class EntryPoints:
    """The entry points of a group. Nothing is looked for before the first question."""

    def __init__(self, group: str) -> None:
        self.group = group
        self._found: dict[str, list[EntryPoint]] | None = None

    def names(self, *, again: bool = False) -> tuple[str, ...]:
        """Return the names that packages bring, sorted; none of them is loaded.

        Args:
            again: look anew, for packages that were installed since.
        """
        if self._found is None or again:
            self._found = {}
            for entry in entry_points(group=self.group):
                same = self._found.setdefault(entry.name, [])
                # A package on two places of sys.path is found twice.
                if all((_package(entry), entry.value) != (_package(e), e.value) for e in same):
                    same.append(entry)
        return tuple(sorted(self._found))

    def packages(self, name: str) -> tuple[str, ...]:
        """Return the packages that bring a name, with their versions."""
        self.names()
        assert self._found is not None
        return tuple(_package(entry) for entry in self._found.get(name, ()))

    def load(self, name: str) -> object:
        """Return what a package calls by the name.

        Raises:
            ConfigError: it cannot be imported, or several packages bring the name.
        """
        packages = self.packages(name)
        assert self._found is not None
        if len(packages) > 1:
            raise ConfigError(
                f"Collator '{name}' is brought by several packages: {', '.join(packages)}. "
                "Uninstall all but one."
            )
        (entry,) = self._found[name]
        try:
            return entry.load()
        except Exception as error:
            said = (str(error).strip().splitlines() or [""])[0].rstrip(".")
            raise ConfigError(
                f"Collator '{name}' of package {packages[0]} cannot be loaded from {entry.value} "
                f"({type(error).__name__}: {said}). Update or uninstall the package."
            ) from error


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unknown package"
