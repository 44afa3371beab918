"""What a user of torch writes, as a backend: `DataLoader(dataset, ...)` with its defaults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader

from chirpid.bench.plain import PlainRecordings
from chirpid.data.kept import RowSpec
from chirpid.types import Batch, IntArray


class TorchBackend:
    """Batches of log-mel through soundfile, torchaudio and a `DataLoader` without workers."""

    def __init__(
        self, paths: Sequence[Path], num_samples: int, settings: dict[str, Any], spec: RowSpec
    ) -> None:
        self._recordings, self._spec = PlainRecordings(paths, num_samples, settings), spec

    def run(self, batches: Sequence[IntArray]) -> Iterator[Batch]:
        """Yield one batch per array of ids, in order."""
        loader = DataLoader(self._recordings, batch_sampler=[ids.tolist() for ids in batches])
        for ids, (rows, _) in zip(batches, loader, strict=True):
            yield Batch(ids, rows[:, :, : self._spec.shape[-1]])

    def close(self) -> None:
        """End nothing."""
