"""The model that is trained is the model that is served: it takes raw waveforms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from chirpid.audio.frontend import FrontEnd
from chirpid.audio.normalise import Normaliser


class BirdModel(nn.Module):
    """Front end, statistics and network in one.

    Args:
        network: normalised spectrograms [B, 1, M, F] to logits [B, C].
    """

    def __init__(
        self,
        frontend: FrontEnd,
        network: nn.Module,
        classes: Sequence[str],
        *,
        clip_median: bool = False,
    ) -> None:
        super().__init__()
        self.frontend = frontend
        self.normaliser = Normaliser(
            frontend.num_mels, clip_median=clip_median, floor_db=frontend.floor_db
        )
        self.network = network
        self.classes = tuple(classes)

    def forward(self, wave_BT: Tensor) -> Tensor:
        """Return probabilities [B, C] of waveforms [B, T] at the front end's rate."""
        spec_BMF = self.normaliser(self.frontend(wave_BT))
        return torch.softmax(self.logits(spec_BMF), dim=1)

    def centred(self, rows: Tensor) -> Tensor:
        """Return spectrograms [B, M, F] as the statistics are taken of, from waveforms or such."""
        return self.normaliser.centre(self.frontend(rows) if rows.dim() == 2 else rows)

    def logits(self, spec_BMF: Tensor) -> Tensor:
        """Return logits [B, C] of normalised spectrograms."""
        logits: Tensor = self.network(spec_BMF[:, None])
        return logits
