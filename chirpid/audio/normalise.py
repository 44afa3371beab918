"""What the network sees of a spectrogram: without its steady part, and scaled.

B batch, M mel bands, F frames
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from chirpid.audio.frontend import has_numbers
from chirpid.native import handle
from chirpid.native.median import centre_rows


class Normaliser(nn.Module):
    """Subtract the mean and divide by the deviation of the training part, [B, M, F] -> same.

    Args:
        clip_median: subtract each band's median over the clip first. What is steady, such as wind,
            traffic and the colour of a microphone, is then gone whoever recorded it.
        floor_db: values down here are digital silence, such as padding: they do not count for the
            median, and become 0, the background. None where there is no such value.
    """

    def __init__(
        self, num_mels: int, *, clip_median: bool = False, floor_db: float | None = None
    ) -> None:
        super().__init__()
        self.clip_median, self.floor_db = clip_median, floor_db
        self.register_buffer("mean_M", torch.zeros(num_mels))
        self.register_buffer("std_M", torch.ones(num_mels))

    def set(self, mean_M: Tensor, std_M: Tensor) -> None:
        """Take statistics of centred spectrograms, float [M] each; deviations from 1e-3 up."""
        self.mean_M = mean_M.to(torch.float32).clone()
        self.std_M = std_M.to(torch.float32).clamp_min(1e-3)

    def centre(self, spec_BMF: Tensor) -> Tensor:
        """Return the spectrograms without their median over time, if asked for."""
        if not self.clip_median:
            return spec_BMF
        if has_numbers(spec_BMF) and spec_BMF.dtype == torch.float32 and handle() is not None:
            return self._centre_natively(spec_BMF.detach().contiguous())
        if self.floor_db is None:
            return spec_BMF - spec_BMF.median(dim=-1, keepdim=True).values
        silent_BMF = spec_BMF <= self.floor_db
        heard_BMF = spec_BMF.masked_fill(silent_BMF, torch.nan)
        median_BM1 = heard_BMF.nanmedian(dim=-1, keepdim=True).values
        return (spec_BMF - median_BM1).masked_fill(silent_BMF, 0.0)

    def _centre_natively(self, spec_BMF: Tensor) -> Tensor:
        out_BMF, length = torch.empty_like(spec_BMF), spec_BMF.shape[-1]
        centre_rows(
            spec_BMF.data_ptr(), out_BMF.data_ptr(),
            count=spec_BMF.numel() // max(length, 1), length=length, floor=self.floor_db,
        )  # fmt: skip
        return out_BMF

    def scale(self, centred_BMF: Tensor) -> Tensor:
        """Return centred spectrograms with mean 0 and deviation 1 over the training part."""
        return (centred_BMF - self.mean_M[:, None]) / self.std_M[:, None]

    def forward(self, spec_BMF: Tensor) -> Tensor:
        return self.scale(self.centre(spec_BMF))
