"""Windows of WAV files straight into floats, and 16-bit samples to mono floats."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chirpid.native.function import ADDRESS, INT, LONG, Function
from chirpid.native.library import handle

Float32 = npt.NDArray[np.float32]

SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
"""By the numbers of src/pcm.h, with the names of libsndfile."""

_open = Function("wav_open", ctypes.c_char_p, ADDRESS)
_read = Function("wav_read", ADDRESS, LONG, LONG, INT, ADDRESS)
_close = Function("wav_close", ADDRESS)
_to_mono = Function("pcm_to_mono", ADDRESS, LONG, INT, INT, INT, ADDRESS)


class _Wav(ctypes.Structure):
    _fields_ = [
        ("num_frames", ctypes.c_int64),
        ("data_offset", ctypes.c_int64),
        ("sample_rate_hz", ctypes.c_int32),
        ("num_channels", ctypes.c_int32),
        ("subtype", ctypes.c_int32),
        ("descriptor", ctypes.c_int32),
    ]


class WavFile:
    """An open WAV file without oddities. Several threads may read at once."""

    __slots__ = ("_address", "_close", "_wav")

    def __init__(self, wav: _Wav) -> None:
        self._wav, self._address = wav, ctypes.addressof(wav)
        self._close = _close.raw  # at the end of the program, names of the module may be gone

    @property
    def sample_rate_hz(self) -> int:
        return int(self._wav.sample_rate_hz)

    @property
    def num_frames(self) -> int:
        return int(self._wav.num_frames)

    @property
    def num_channels(self) -> int:
        return int(self._wav.num_channels)

    @property
    def subtype(self) -> str:
        return SUBTYPES[self._wav.subtype]

    def read_into(self, window: Float32, start_frame: int, channel: int) -> None:
        """Fill `window`, contiguous, with mono frames from `start_frame` on, zero outside the file.

        Raises:
            OSError: the disk does not give them.
        """
        assert self._wav.descriptor >= 0, "the file is closed"
        error = _read.raw(self._address, start_frame, len(window), channel, window.ctypes.data)
        if error:
            raise OSError(error, os.strerror(error))

    def close(self) -> None:
        """Close the file; once is enough."""
        self._close(self._address)

    def __del__(self) -> None:
        self.close()


def open_wav(path: str | Path) -> WavFile | None:
    """Return an open WAV file; None if it is none, or for libsndfile to judge.

    Taken are RIFF, WAVEX and RF64 whose sizes agree with the size of the file, of linear integers
    or floats. Repairs of anything else, and words for what is wrong, are libsndfile's.
    """
    if handle() is None:
        return None
    wav = _Wav()
    if _open.raw(os.fsencode(path), ctypes.byref(wav)):
        return None
    return WavFile(wav)


def int16_to_mono(samples: npt.NDArray[np.int16], channel: int, out: Float32) -> bool:
    """Write int16 [frames, channels] as float32 mono; False where there is no native library."""
    if handle() is None:
        return False
    kind, num_channels = SUBTYPES.index("PCM_16"), samples.shape[1]
    _to_mono(samples.ctypes.data, len(samples), num_channels, kind, channel, out.ctypes.data)
    return True
