"""Any dataset of samples of one shape, kept in one of the four ways."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from chirpid.data.general.choice import chosen
from chirpid.data.tensors.build import about_of, begin, build_store
from chirpid.data.tensors.draws import form_unmoved, refuse_draws
from chirpid.data.tensors.head import Head
from chirpid.data.tensors.making import SampleMaker
from chirpid.data.tensors.rows import check_ram
from chirpid.data.tensors.store import Say, TensorStore
from chirpid.data.wrap.vectorized import VectorizedDataset
from chirpid.errors import BudgetError, ConfigError
from chirpid.storage.caches import GIB, cache_folder, reserve
from chirpid.storage.locks import FileLock
from chirpid.storage.parallel import Progress, for_each
from chirpid.storage.rowstore import is_complete
from chirpid.types import Mode, size_text

CACHE_ROOT = Path("outputs/cache")
"""Where `chirpid cache list` looks, too."""
CACHE_BYTES = 50 * GIB
"""What all caches together may take, where nothing is said."""
_HERE = {"mode.cache_gib": "budget_bytes", "paths.cache": "cache_root", "mode=lazy": "mode='lazy'"}


def in_mode(
    dataset: Any,
    mode: str,
    *,
    cache_root: str | Path | None = None,
    budget_bytes: int | None = None,
    key: str | None = None,
    freeze: bool = False,
    num_workers: int | None = None,
    progress: Progress | None = None,
    say: Say | None = None,
) -> Any:
    """Return the samples of a dataset in a mode, the same bit for bit in each.

    Samples come as tensors, in the structure that a batch of them has.

    Args:
        dataset: samples of one shape by number: a map dataset or a reader of batches.
        mode: `lazy` is the dataset as it is; `eager` makes all samples now and keeps them in RAM;
            `cached` keeps them in a store on the disk, made once for all processes and runs;
            `streaming` reads that store block by block, in the order of its `order_rule`.
        cache_root: folder of the caches; by default outputs/cache.
        budget_bytes: RAM that `eager` may take, by default three quarters of what is free; or what
            all caches below the root may take, by default 50 GiB. The least recently used go.
        key: a text that changes with the content, for a dataset that has no `fingerprint()`.
        freeze: keep one draw of a dataset that draws random numbers.
        num_workers: threads for a dataset that is `thread_safe`, else worker processes; by default
            threads alone.
        progress: told of samples made.
        say: told of the cache, its size, and what went for it.

    Raises:
        ConfigError: there is no such mode; nothing tells the content of the dataset from others;
            or it draws random numbers.
        BudgetError: the mode needs more than it may take.
        DataError: samples differ in structure, type or shape, or hold what is no number.
        StorageError: the cache cannot be written.
    """
    kept = chosen(Mode, "mode", mode)
    if kept is Mode.lazy:
        return dataset
    layout = form_unmoved(dataset)
    root = CACHE_ROOT if cache_root is None else Path(cache_root)
    head = Head.of(layout, len(dataset), _content(dataset, kept, key))
    store = _Store(dataset, head, root, say or _unsaid)
    if kept is Mode.eager:
        check_ram(head, budget_bytes)
    if not store.is_whole and not freeze:
        refuse_draws(dataset, layout, f"mode='{kept}'")
    if kept is not Mode.eager:
        store.build(CACHE_BYTES if budget_bytes is None else budget_bytes, num_workers, progress)
    elif not store.is_whole:
        return _in_ram(dataset, head, num_workers, progress)
    return store.opened(kept, budget_bytes)


def _content(dataset: Any, mode: Mode, key: str | None) -> str:
    """Return what tells the content of a dataset from others.

    Raises:
        ConfigError: there is nothing that does, and the mode needs it.
    """
    if key is not None:
        return f"key {key}"
    fingerprint = getattr(dataset, "fingerprint", None)
    if callable(fingerprint):
        return str(fingerprint())
    if mode is Mode.eager:
        return ""
    raise ConfigError(
        f"mode='{mode}' keeps the samples in a cache, and nothing tells the content of "
        f"{type(dataset).__name__} from others. Pass key=, a text that you change whenever the "
        "samples change, or give the dataset a method fingerprint() that returns one."
    )


def _in_ram(
    dataset: Any, head: Head, num_workers: int | None, progress: Progress | None
) -> VectorizedDataset:
    """Return all samples in memory, made by several workers where the dataset can."""
    columns, num_rows = head.layout.empty(head.num_rows), head.num_rows
    step = head.rows.chunk_rows
    with SampleMaker(dataset, head.layout, num_workers=num_workers) as maker:

        def work(first: int) -> None:
            end = min(first + step, num_rows)
            maker.fill(first, end, columns[first:end])

        told = None
        if progress is not None:
            told = lambda done, _total: progress(min(done * step, num_rows), num_rows)  # noqa: E731
        for_each(work, range(0, num_rows, step), num_threads=maker.num_threads, progress=told)
    return VectorizedDataset(columns)


class _Store:
    """The cache of a dataset."""

    def __init__(self, dataset: Any, head: Head, root: Path, say: Say) -> None:
        self.dataset, self.head, self.root, self.say = dataset, head, root, say
        # Of all that is asked for: other samples, and others of the same name, are another cache.
        name = hashlib.blake2b(head.text().encode(), digest_size=10).hexdigest()
        self.folder = cache_folder(root, "rows", name)
        self.use: FileLock | None = None

    @property
    def is_whole(self) -> bool:
        return bool(self.head.fingerprint) and is_complete(self.folder, self.head.rows)

    def build(self, budget: int, num_workers: int | None, progress: Progress | None) -> None:
        """Make sure that it is there and whole, and hold it until it is opened."""
        head, about = self.head, about_of(self.dataset, self.head)
        self.use = self._reserved(budget, about)
        with ExitStack() as undo:
            undo.callback(self.use.close)
            begin(self.folder, head, overwrite=True)
            if not self.is_whole:
                self.say(f"building the cache {self.folder.name}: {head.num_rows} samples, "
                         f"{size_text(head.rows.num_bytes)}")  # fmt: skip
            build_store(self.folder, head, self.dataset, about=about, num_workers=num_workers,
                        progress=progress, say=self.say)  # fmt: skip
            undo.pop_all()

    def opened(self, mode: Mode, budget_bytes: int | None) -> TensorStore:
        """Return it as a dataset."""
        try:
            return TensorStore(
                self.folder,
                mode,
                layout=self.head.layout,
                budget_bytes=budget_bytes,
                say=self.say,
            )
        finally:
            if self.use is not None:
                self.use.close()

    def _reserved(self, budget: int, about: dict[str, object]) -> FileLock:
        """Make room below the root, and hold the folder: it is not to be evicted in the making."""
        need = self.head.rows.num_bytes
        try:
            use, removed = reserve(
                self.root, self.folder, need_bytes=need, budget_bytes=budget, about=about
            )
        except BudgetError as error:
            raise BudgetError(_in_words_of_here(str(error))) from None
        for entry in removed:
            self.say(f"removed the least recently used cache {entry.path.name}, "
                     f"{size_text(entry.num_bytes)}, to keep budget_bytes")  # fmt: skip
        return use


def _in_words_of_here(message: str) -> str:
    """Return a message about settings of a run with what they are called here."""
    for setting, argument in _HERE.items():
        message = message.replace(setting, argument)
    return message


def _unsaid(text: str) -> None:
    """Nobody is to be told."""
