"""The whole suite on two processors: files side by side, and at the end those that must be alone.

A path, a name to select by, `-s`, `--pdb` and `-n 0` run in one process; so does all of it where
pytest-xdist is missing.
"""

from __future__ import annotations

import os
import sys

import pytest

try:
    from xdist.scheduler import LoadScopeScheduling
except ImportError:
    LoadScopeScheduling = object

ALONE = (
    "tests/native/test_openmp.py",  # how much processor time threads take that spin
    "tests/loading/monitor/",  # how much of its time a process is given processors
    "tests/loading/test_cuda.py",  # what the one GPU holds
)
"""Files and folders of which no test runs beside any other: they look at what is shared by all."""
TOGETHER = (("tests/e2e/", "tests/native/test_library.py"), ("tests/tracking/",))
"""What one process runs all of: what takes seconds to make is then made once."""
FIRST = ("tests/e2e/", "tests/test_docs.py", "tests/tracking/", "tests/bench/", "tests/native/")
"""What lasts longest: begun at the end, one process would wait for the other."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Ask pytest-xdist for two processes where the whole suite is run and nobody said how."""
    option = config.option
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS and not (
        option.keyword or option.markexpr or option.collectonly
    )
    watched = option.usepdb or option.trace or option.capture == "no"  # somebody sits before it
    within = "PYTEST_XDIST_WORKER" in os.environ  # one of the two, which must not ask for more
    if whole and not watched and not within and getattr(option, "numprocesses", 0) is None:
        option.numprocesses, option.dist = 2, "loadfile"
        option.loadscopereorder = False  # the order is that of `_turn`


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    return FilesThenAlone(config, log) if config.option.dist == "loadfile" else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In a process of pytest-xdist: the longest first, and half of the cores for torch.

    Threads of two trainings on the same cores spin while they wait for each other. Tests that are
    about threads name a number.

    Raises:
        UsageError: the name of a test holds an address, which is another one in each process.
    """
    for item in items:
        if " at 0x" in item.nodeid:
            raise pytest.UsageError(f"{item.nodeid}: give its values ids that say what they are")
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(max(1, (os.cpu_count() or 1) // 2))


def _turn(item: pytest.Item) -> int:
    if item.nodeid.startswith(ALONE):
        return len(FIRST) + 1
    fits = (turn for turn, start in enumerate(FIRST) if item.nodeid.startswith(start))
    return next(fits, len(FIRST))


class FilesThenAlone(LoadScopeScheduling):
    """Hands out files; once all but one process have ended, it gets those that must be alone."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(ALONE):
            return "alone"
        shared = (paths[0] for paths in TOGETHER if nodeid.startswith(paths))
        return next(shared, nodeid.partition("::")[0])

    def _reschedule(self, node: object) -> None:
        if "alone" in self.workqueue:
            self.workqueue.move_to_end("alone")  # files of a process that crashed come before it
        if list(self.workqueue) == ["alone"] and len(self.nodes) > 1:
            if any(not other.shutting_down for other in self.nodes if other is not node):
                node.shutdown()  # after what it was given
            return
        super()._reschedule(node)

    def remove_node(self, node: object) -> str | None:
        crashed: str | None = super().remove_node(node)
        for other in self.nodes:
            self._reschedule(other)
        return crashed
