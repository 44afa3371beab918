"""Functions of the native library: the types of their arguments, and what their results mean."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from chirpid.native.library import handle

ADDRESS, INT, LONG, FLOAT = ctypes.c_void_p, ctypes.c_int, ctypes.c_int64, ctypes.c_float
_NO_MEMORY = 2


class Function:
    """The function `chirpid_<name>` of the library. Calls release the GIL.

    It may be declared where there is no library; before a call, ask `handle()` whether there is.
    """

    def __init__(self, name: str, *arguments: Any, result: Any = ctypes.c_int) -> None:
        self.name, self._arguments, self._result = name, arguments, result

    @functools.cached_property
    def raw(self) -> Callable[..., int]:
        """The function alone, for results that mean something else, or that are not checked."""
        library = handle()
        assert library is not None, "ask handle() first"
        function = library[f"chirpid_{self.name}"]
        function.argtypes, function.restype = self._arguments, self._result
        return function

    def __call__(self, *arguments: Any) -> None:
        """Call it, numbers and addresses as they are.

        Raises:
            MemoryError: there is no room to work in.
        """
        code = self.raw(*arguments)
        if code == _NO_MEMORY:
            raise MemoryError(f"{self.name}: no memory to work in")
        assert code == 0, f"{self.name}: {code}"
