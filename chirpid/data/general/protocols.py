"""What a dataset can offer to be loaded; everything but the first two methods is optional."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from chirpid.data.general.columns import Columns, Layout
from chirpid.types import IntArray


@runtime_checkable
class MapDataset(Protocol):
    """Samples by number, as torch's `Dataset` has them.

    Optional beside these: `__getitems__(indices)`, which returns several samples at once;
    `thread_safe`, whether several threads may ask at once and gain by it (else they are worker
    processes); `fingerprint()`, a text that changes with the content; `close()`.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


@runtime_checkable
class BatchReader(Protocol):
    """Samples of one shape, written where the batch lies: no object for each of them."""

    layout: Layout

    def __len__(self) -> int: ...

    def read_into(self, ids: IntArray, out: Columns) -> None:
        """Write sample `ids[i]` into row i of `out`, which has as many rows as there are ids."""


@runtime_checkable
class Resumable(Protocol):
    """An iterable dataset that knows where it is."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any: ...


def getitems(dataset: MapDataset, indices: Sequence[int]) -> list[Any]:
    """Return samples, in one call where the dataset can."""
    at_once = getattr(dataset, "__getitems__", None)
    return list(at_once(list(indices))) if at_once else [dataset[i] for i in indices]
