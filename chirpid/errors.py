"""Errors that a user can act on: one line that says what, where, what was found, what to do."""

from __future__ import annotations


class ChirpError(ValueError):
    """Base of all errors meant for users. `kind` opens the line, `exit_code` ends the program."""

    kind = "error"
    exit_code = 1

    def line(self) -> str:
        """Return the message as the one line (or few lines) a user sees."""
        return f"{self.kind}: {self}"


class ConfigError(ChirpError):
    """A setting is unknown, of the wrong type, out of range, or at odds with another."""

    kind = "config error"
    exit_code = 2


class DataError(ChirpError):
    """A table, a folder or a recording is not what training needs."""

    kind = "data error"
    exit_code = 2


class BudgetError(ConfigError):
    """A plan needs more memory or disk than its budget allows."""


class StorageError(ChirpError):
    """Writing failed: disk full, folder not writable, checksum wrong."""

    kind = "storage error"


class TrainingError(ChirpError):
    """Training cannot go on: loss is not finite, a worker died."""

    kind = "training error"


class BenchmarkError(ChirpError):
    """A loader under test did not deliver what was asked for: its time means nothing."""

    kind = "benchmark error"


class Interrupted(ChirpError):  # noqa: N818 - it is a state, not a fault
    """The user pressed Ctrl-C; what was done is saved and can be resumed."""

    kind = "interrupted"
    exit_code = 130


def did_you_mean(word: str, known: list[str] | tuple[str, ...]) -> str:
    """Return " Did you mean 'x'?" for the closest of `known`, or an empty string."""
    import difflib

    # Those who mistype begin right: another first letter must be closer to count.
    likely = [name for name in known if name[:1].lower() == word[:1].lower()]
    close = difflib.get_close_matches(word, likely, n=1, cutoff=0.6)
    close = close or difflib.get_close_matches(word, known, n=1, cutoff=0.75)
    return f" Did you mean '{close[0]}'?" if close else ""
