"""Work on many items with threads, told as it goes, stopped cleanly."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
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
    main_threads, native_ids = torch.get_num_threads(), set[int]()

    def begin() -> None:
        native_ids.add(threading.get_native_id())
        torch.set_num_threads(1)

    pool = ThreadPoolExecutor(
        max(1, num_threads), thread_name_prefix="chirpid-build", initializer=begin
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
        wait_for_exit(native_ids)
        # MKL's thread count is global: what the pool set holds for the caller too.
        torch.set_num_threads(main_threads)


def end_threads(threads: Sequence[threading.Thread]) -> None:
    """Wait until threads that were told to end have, each of them started or not."""
    for thread in threads:
        # The collector may run in any of them, and of some that were made none was started.
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join()
    wait_for_exit(thread.native_id or 0 for thread in threads)


def wait_for_exit(native_ids: Iterable[int], *, at_most_s: float = 2.0) -> None:
    """Wait until the system has no more threads of these ids, where it lists them.

    Before Python 3.13 a thread that has been joined may still be running down, with a lock of MKL
    in its hands: a process forked at that moment would wait for that lock for ever.
    """
    end = time.monotonic() + at_most_s
    for native_id in native_ids:
        while Path(f"/proc/self/task/{native_id}").exists() and time.monotonic() < end:
            time.sleep(0.001)
