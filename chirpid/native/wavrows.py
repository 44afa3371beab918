"""Rows of a batch from WAV files by one native call, which never waits for Python's lock."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import NamedTuple

from chirpid.native.function import ADDRESS, LONG, Function
from chirpid.native.gather import KINDS
from chirpid.native.logmel import MelPlan
from chirpid.native.resample import Polyphase

STAGES = ("decode", "resample", "frontend")

_wav_rows = Function("wav_rows", ADDRESS, ADDRESS, LONG, ADDRESS, ADDRESS)


class _Clip(ctypes.Structure):
    _fields_ = [
        ("path", ctypes.c_char_p),
        ("start_frame", ctypes.c_int64),
        ("num_frames", ctypes.c_int64),
        ("resample", ctypes.c_void_p),
        ("first_output", ctypes.c_int64),
        ("channel", ctypes.c_int32),
        ("done", ctypes.c_int32),
    ]


class _Rule(ctypes.Structure):
    _fields_ = [
        ("num_samples", ctypes.c_int64),
        ("row_numbers", ctypes.c_int64),
        ("logmel", ctypes.c_void_p),
        ("kind", ctypes.c_int32),
        ("scale", ctypes.c_float),
        ("step", ctypes.c_float),
        ("offset", ctypes.c_float),
    ]


class Clip(NamedTuple):
    """A window of a file."""

    path: bytes | None
    """None for what is no WAV file."""
    start_frame: int
    num_frames: int
    """To read; without a resampler, the samples of the window."""
    resampler: Polyphase | None
    first_output: int
    """First output of the resampler that belongs to the window."""
    channel: int


class RowRule(NamedTuple):
    """What becomes of the samples of a window; the last three as for `native.narrow`."""

    num_samples: int
    row_numbers: int
    plan: MelPlan | None
    """None: rows are waveforms."""
    kind: str
    scale: float
    step: float
    offset: float


def wav_rows(rule: RowRule, clips: Sequence[Clip], out: int) -> tuple[list[int], dict[str, float]]:
    """Write the rows of `clips` to float32 [n, row_numbers] at address `out`.

    Returns:
        the positions of the clips that libsndfile has to judge, whose rows are undefined; and the
        seconds of each stage.
    Raises:
        MemoryError: there is no room to work in.
    """
    native_clips = (_Clip * len(clips))(*map(_native, clips))
    plan = rule.plan.address if rule.plan else None
    native_rule = _Rule(
        rule.num_samples, rule.row_numbers, plan, KINDS[rule.kind],
        rule.scale, rule.step, rule.offset,
    )  # fmt: skip
    seconds = (ctypes.c_double * len(STAGES))()
    _wav_rows(ctypes.byref(native_rule), native_clips, len(clips), out, seconds)
    left = [position for position, clip in enumerate(native_clips) if not clip.done]
    return left, dict(zip(STAGES, seconds, strict=True))


def _native(clip: Clip) -> _Clip:
    path, start_frame, num_frames, resampler, first_output, channel = clip
    address = resampler.address if resampler else None
    return _Clip(path, start_frame, num_frames, address, first_output, channel)
