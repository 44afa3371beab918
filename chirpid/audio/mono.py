"""From channels to one, and from any float to a finite one.

A recording has one channel for all of ChirpID: the mean of its channels, unless they cancel. Where
the mean is more than 20 dB below the loudest channel (a channel is inverted, or only one of many
was connected), that channel is taken. The choice is made once for a whole recording.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Float32 = npt.NDArray[np.float32]

MEAN = -1
"""The `channel` of a recording whose channels are averaged."""
CANCEL_DB = 20.0


def make_finite(block: Float32) -> int:
    """Set NaN and infinite samples of `block` to 0, in place; return how many there were."""
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(block.sum()):  # one pass without a temporary, for nearly every block
            return 0
    bad = ~np.isfinite(block)
    block[bad] = 0.0
    return int(bad.sum())


def to_mono(block: Float32, channel: int) -> Float32:
    """Return one channel of `block`, float32 [frames, channels], or their mean, as [frames].

    Summed in channel order, so that the result of a frame does not depend on the block around it.
    """
    if block.shape[1] == 1:
        return block[:, 0]
    if channel != MEAN:
        return np.ascontiguousarray(block[:, channel])
    mono = block[:, 0] + block[:, 1]
    for other in range(2, block.shape[1]):
        mono += block[:, other]
    mono *= np.float32(1.0 / block.shape[1])
    return mono


def choose_channel(mean_energy: float, channel_energies: npt.NDArray[np.float64]) -> int:
    """Return MEAN, or the loudest channel if the mean is more than `CANCEL_DB` below it."""
    loudest = int(np.argmax(channel_energies))
    if channel_energies[loudest] > mean_energy * 10 ** (CANCEL_DB / 10):
        return loudest
    return MEAN
