"""Windows of WAV files straight into floats, and 16-bit samples to mono floats."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from chirpid.native.library import handle

Float32 = npt.NDArray[np.float32]

SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
"""By the numbers of src/pcm.h, with the names of libsndfile."""


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

    __slots__ = ("_library", "_pointer", "_wav")

    def __init__(self, wav: _Wav, library: ctypes.CDLL) -> None:
        self._wav, self._library = wav, library
        self._pointer = ctypes.c_void_p(ctypes.addressof(wav))

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
        error = self._library.chirpid_wav_read(
            self._pointer,
            ctypes.c_int64(start_frame),
            ctypes.c_int64(len(window)),
            channel,
            ctypes.c_void_p(window.ctypes.data),
        )
        if error:
            raise OSError(error, os.strerror(error))

    def close(self) -> None:
        """Close the file; once is enough."""
        self._library.chirpid_wav_close(self._pointer)

    def __del__(self) -> None:
        self.close()


def open_wav(path: str | Path) -> WavFile | None:
    """Return an open WAV file; None if it is none, or for libsndfile to judge.

    Taken are RIFF, WAVEX and RF64 whose sizes agree with the size of the file, of linear integers
    or floats. Repairs of anything else, and words for what is wrong, are libsndfile's.
    """
    library = handle()
    if library is None:
        return None
    wav = _Wav()
    if library.chirpid_wav_open(os.fsencode(path), ctypes.byref(wav)):
        return None
    return WavFile(wav, library)


def int16_to_mono(samples: npt.NDArray[np.int16], channel: int, out: Float32) -> bool:
    """Write int16 [frames, channels] as float32 mono; False where there is no native library."""
    library = handle()
    if library is None:
        return False
    library.chirpid_pcm_to_mono(
        ctypes.c_void_p(samples.ctypes.data),
        ctypes.c_int64(len(samples)),
        samples.shape[1],
        SUBTYPES.index("PCM_16"),
        channel,
        ctypes.c_void_p(out.ctypes.data),
    )
    return True
