"""The baseline: what a careful user of torch writes without us."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import soundfile
import torch
import torchaudio
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

Settings = dict[str, Any]


class PlainRecordings(Dataset[Tensor]):
    """Reads a recording with soundfile and makes its log-mel with torchaudio."""

    def __init__(self, paths: Sequence[Path], num_samples: int, settings: Settings) -> None:
        self.paths, self.num_samples = list(paths), num_samples
        self.mel = torchaudio.transforms.MelSpectrogram(
            sample_rate=settings["sample_rate_hz"],
            n_fft=settings["fft_samples"],
            hop_length=settings["hop_samples"],
            f_min=settings["fmin_hz"],
            f_max=settings["fmax_hz"],
            n_mels=settings["num_mels"],
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Tensor:
        wave, _ = soundfile.read(self.paths[index], frames=self.num_samples, dtype="float32")
        spec: Tensor = 10 * torch.log10(self.mel(torch.from_numpy(wave)).clamp_min(1e-10))
        return spec


def recordings_loader(
    paths: Sequence[Path],
    *,
    num_samples: int,
    settings: Settings,
    batch_size: int,
    num_workers: int,
) -> DataLoader[Tensor]:
    """Return a shuffling DataLoader over recordings."""
    return DataLoader(
        PlainRecordings(paths, num_samples, settings),
        batch_size=batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        multiprocessing_context=_start(num_workers),
    )


def rows_loader(
    rows: Tensor, *, batch_size: int, num_workers: int
) -> DataLoader[tuple[Tensor, ...]]:
    """Return a shuffling DataLoader over rows in RAM that are float32 already."""
    return DataLoader(
        TensorDataset(rows),
        batch_size=batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        multiprocessing_context=_start(num_workers),
    )


def _start(num_workers: int) -> str | None:
    # Forked beside threads that run FFTs, a worker can inherit a lock that nobody will open.
    return "forkserver" if num_workers else None


def one_pass(loader: DataLoader[object], seed: int) -> Iterator[object]:
    """Yield the batches of an epoch shuffled by `seed`."""
    torch.manual_seed(seed)
    yield from loader
