"""Objects of the library on a small set, without config: what most tests start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from chirpid.audio.frontend import FrontEnd
from chirpid.audio.segment import SegmentRule
from chirpid.data.check import Checked, check_recordings
from chirpid.data.modes import StoreOptions, open_dataset, store_key
from chirpid.data.rows import RowMaker
from chirpid.data.segments import SegmentTable, make_segments
from chirpid.data.sources import load_manifest
from chirpid.types import Keep, Mode, StoreDtype

FRONTEND = {
    "kind": "logmel", "sample_rate_hz": 16000, "fft_samples": 512, "hop_samples": 256,
    "num_mels": 24, "fmin_hz": 50.0, "fmax_hz": 8000.0,
}  # fmt: skip


RULE = SegmentRule(duration_s=1.0, min_tail_s=0.2)
KINDS = [
    (Keep.spectrogram, StoreDtype.float16),
    (Keep.spectrogram, StoreDtype.float32),
    (Keep.spectrogram, StoreDtype.uint8),
    (Keep.waveform, StoreDtype.int16),
    (Keep.waveform, StoreDtype.float32),
]
"""All that a store may keep."""


def opened(folder: Path, *, rule: SegmentRule = RULE) -> tuple[Checked, SegmentTable]:
    """Return what a folder that `sounds.write_set` wrote holds, and its segments."""
    manifest = load_manifest("csv", name=folder.name, root=folder, table="metadata.csv")
    checked = check_recordings(manifest, num_workers=1)
    return checked, make_segments(checked.manifest, checked.levels, rule)[0]


def segments_of(folder: Path, *, duration_s: float = 1.0) -> SegmentTable:
    """Return the segments of a folder that `sounds.write_set` wrote."""
    return opened(folder, rule=replace(RULE, duration_s=duration_s))[1]


def maker_of(
    segments: SegmentTable,
    *,
    keep: Keep = Keep.spectrogram,
    dtype: StoreDtype = StoreDtype.float16,
    **frontend: object,
) -> RowMaker:
    """Return the row maker with the small front end."""
    return RowMaker(segments, FrontEnd(**{**FRONTEND, **frontend}), keep=keep, dtype=dtype)


def dataset_of(
    mode: Mode,
    maker: RowMaker,
    cache: Path,
    *,
    say: Callable[[str], None] | None = None,
    **options: object,
):
    """Return the dataset in a mode, its store below `cache`."""
    settings = {
        "cache_root": cache, "cache_bytes": 2**30, "ram_bytes": 2**30, "num_threads": 2,
        "shard_segments": 7, "window_segments": 1000, **options,
    }  # fmt: skip
    return open_dataset(
        mode, maker, key=store_key(maker, dict(FRONTEND)), about={},
        options=StoreOptions(**settings), say=say,
    )  # fmt: skip
