"""Engine tests run on one thread.

For whole modules, so that runs whose bits are compared have the same number of threads.
"""

from tests.one_thread import _one_thread  # noqa: F401 - a fixture
