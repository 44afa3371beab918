"""The baseline: what a careful user of torch writes without us."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import soundfile
import torch
import torchaudio
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

Settings = dict[str, Any]
Rows = tuple[Tensor, ...]

BASELINE = "torch DataLoader"


def with_workers(num_workers: int) -> str:
    """Return the name of the baseline with workers."""
    return f"{BASELINE}, {num_workers} worker{'s' if num_workers > 1 else ''}"


class PlainRecordings(Dataset[tuple[Tensor, int]]):
    """Reads a recording with soundfile and makes its log-mel with torchaudio.

    The same figures as our front end: a full-scale sine reads 0 dB in its band.
    """

    def __init__(self, paths: Sequence[Path], num_samples: int, settings: Settings) -> None:
        self.paths, self.num_samples = [str(path) for path in paths], num_samples
        self.mel = torchaudio.transforms.MelSpectrogram(
            sample_rate=settings["sample_rate_hz"],
            n_fft=settings["fft_samples"],
            hop_length=settings["hop_samples"],
            f_min=settings["fmin_hz"],
            f_max=settings["fmax_hz"],
            n_mels=settings["num_mels"],
            window_fn=_window,
        )

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        wave, _ = soundfile.read(self.paths[index], frames=self.num_samples, dtype="float32")
        spec: Tensor = 10 * torch.log10(self.mel(torch.from_numpy(wave)).clamp_min(1e-10))
        return spec, index


def _window(length: int) -> Tensor:
    window = torch.hann_window(length)
    return window * (2 / window.sum())


class PlainBatches(Dataset[Tensor]):
    """Item i is a whole batch of rows: what is left is to bring it to the caller."""

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows

    def __getitem__(self, ids: Any) -> Tensor:
        return self.rows[ids]


def recordings_loader(
    paths: Sequence[Path],
    *,
    num_samples: int,
    settings: Settings,
    batch_size: int,
    num_workers: int,
) -> DataLoader[tuple[Tensor, int]]:
    """Return a shuffling DataLoader over recordings."""
    return DataLoader(
        PlainRecordings(paths, num_samples, settings),
        batch_size=batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        multiprocessing_context=start_method(num_workers),
    )


def rows_loader(rows: Tensor, *, batch_size: int, num_workers: int) -> DataLoader[Rows]:
    """Return a shuffling DataLoader over rows in RAM that are float32 already."""
    return DataLoader(
        TensorDataset(rows),
        batch_size=batch_size,
        shuffle=True,
        num_workers=num_workers,
        persistent_workers=num_workers > 0,
        multiprocessing_context=start_method(num_workers),
    )


def start_method(num_workers: int) -> str | None:
    """Return how the baseline's lasting workers start."""
    if not num_workers:
        return None
    # Forked beside threads that run FFTs, a worker can inherit a lock that nobody will open.
    return "forkserver"


def libsndfile_version() -> str:
    """Return the version of the library that decodes."""
    return str(soundfile.__libsndfile_version__)


def prepare_workers() -> None:
    """Have workers that last start with torch imported: it is not timed, but it is waited for."""
    if "forkserver" in torch.multiprocessing.get_all_start_methods():
        modules = ["__main__", "chirpid.bench.plain", "chirpid.loading.backends.processes"]
        torch.multiprocessing.get_context("forkserver").set_forkserver_preload(modules)


def one_pass(loader: DataLoader[Any], seed: int) -> Iterator[object]:
    """Yield the batches of an epoch shuffled by `seed`."""
    torch.manual_seed(seed)
    yield from forked(loader)


def forked(loader: DataLoader[Any]) -> Iterator[object]:
    """Return an iterator of `loader`; its workers start as is usual on this system."""
    with warnings.catch_warnings():
        # Where that is by fork, Python warns that this process has threads: so has everybody's.
        warnings.filterwarnings("ignore", "This process .* is multi-threaded", DeprecationWarning)
        return iter(loader)
