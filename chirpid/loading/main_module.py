"""Whether new processes can import the program that is running, as all but forked ones do."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType

_DEFINITIONS = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef,
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
    if all(_is_harmless(s) or _is_text(s) for s in program.body):
        return None
    return f'{Path(file).name} has no `if __name__ == "__main__":`, and would run again in each'


def _is_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)


def _is_harmless(statement: ast.stmt) -> bool:
    """Return whether a statement defines something; what it calls may be the training."""
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        works = ast.Call | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp
        return not any(isinstance(node, works) for node in ast.walk(statement))
    return isinstance(statement, _DEFINITIONS)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
