"""Work on many items with threads, told as it goes, stopped cleanly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

import torch

Item = TypeVar("Item")
Progress = Callable[[int, int], None]
"""Called with (done, total)."""


def for_each(
    work: Callable[[Item], None],
    items: Sequence[Item],
    *,
    num_threads: int,
    progress: Progress | None = None,
) -> None:
    """Call `work` on every item; the first error stops the rest and is raised.

    Decoders and torch release the GIL, so that threads use all cores.
    """
    done, failed = 0, threading.Event()

    def work_unless_failed(item: Item) -> None:
        if failed.is_set():
            return
        try:
            work(item)
        except BaseException:
            failed.set()  # here, and not when the caller hears of it: many items fit in between
            raise

    if progress:
        progress(0, len(items))
    main_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(
        max(1, num_threads), thread_name_prefix="chirpid-build", initializer=_use_one_thread
    )
    try:
        futures = [pool.submit(work_unless_failed, item) for item in items]
        for future in as_completed(futures):
            future.result()
            done += 1
            if progress:
                progress(done, len(items))
    finally:
        # Waits for the items in work alone: what has not begun is dropped after an error or Ctrl-C.
        pool.shutdown(wait=True, cancel_futures=True)
        # MKL's thread count is global: what the pool set holds for the caller too.
        torch.set_num_threads(main_threads)


def _use_one_thread() -> None:
    torch.set_num_threads(1)
