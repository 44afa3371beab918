"""How a program ends: one line and an exit code for what a user can mend, a traceback for bugs."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

from chirpid.errors import ChirpError, Interrupted

_DISK_FAULTS = {
    errno.ENOSPC: "the disk is full. Free some space or set paths.outputs to another disk",
    errno.EDQUOT: "the disk quota is used up. Free some space or set paths.outputs to another disk",
    errno.EROFS: "the disk is read-only. Set paths.outputs to a folder you may write to",
    errno.EACCES: "permission denied. Set paths.outputs to a folder you may write to",
}
_STORAGE_EXIT_CODE = 1


def run_guarded(work: Callable[[], int]) -> int:
    """Return the exit code of `work`; errors meant for users become one line on stderr.

    Exit codes: 2 for config and data errors, 1 for storage and training errors, 130 after Ctrl-C.
    Raises:
        Exception: anything else is a bug, and its traceback is worth having.
    """
    try:
        return work()
    except ChirpError as error:
        return _end(error.line(), error.exit_code)
    except KeyboardInterrupt as interrupt:
        return _end(f"interrupted: {interrupt}".rstrip(": "), Interrupted.exit_code)
    except BrokenPipeError:
        # `train.py --help | head` closes our stdout; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _DISK_FAULTS:
            raise
        where = f"{error.filename}: " if error.filename else ""
        return _end(f"storage error: {where}{_DISK_FAULTS[error.errno]}.", _STORAGE_EXIT_CODE)


def _end(line: str, exit_code: int) -> int:
    sys.stdout.flush()
    print(line, file=sys.stderr, flush=True)
    return exit_code
