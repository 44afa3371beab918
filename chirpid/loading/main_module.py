"""Whether new processes can import the program that is running, as all but forked ones do."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType

_HARMLESS = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign,
    ast.AnnAssign,
)  # fmt: skip


def why_only_fork(main: ModuleType | None = None) -> str | None:
    """Return why worker processes can only be forked, or None.

    Others import the program anew. What it does outside of `if __name__ == "__main__":` it would
    do again in each of them, and what was typed into a notebook they do not find.
    """
    main = main or sys.modules["__main__"]
    file = getattr(main, "__file__", None)
    if file is None:
        return "other processes cannot import what is typed into a notebook or a shell"
    try:
        program = ast.parse(Path(file).read_bytes())
    except (OSError, SyntaxError, ValueError):  # not a text of Python: it is imported as it is
        return None
    if any(_is_guard(statement) for statement in program.body):
        return None
    if all(isinstance(s, _HARMLESS) or _is_text(s) for s in program.body):
        return None
    return f'{Path(file).name} has no `if __name__ == "__main__":`, and would run again in each'


def _is_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
