"""From a delivered batch to what the network sees: transfer, augmentation, normalisation."""

from __future__ import annotations

import time

import torch
from torch import Tensor

from chirpid.audio.augment import (
    AugmentRule,
    Draws,
    augment_logmel,
    augment_wave,
    equalise,
    mask_spectrogram,
    mixup,
)
from chirpid.data.mix import draw_keys
from chirpid.engine.model import BirdModel
from chirpid.engine.rule import Task
from chirpid.loading.monitor import EpochMonitor
from chirpid.types import Batch, IntArray


class Preparer:
    """Does to a batch, on the model's device, what comes between the loader and the network."""

    def __init__(
        self, model: BirdModel, task: Task, augment: AugmentRule, device: torch.device, seed: int
    ) -> None:
        self.model, self.task, self.augment = model, task, augment
        self.device, self.seed = device, seed
        self.target_NC = task.target_NC.to(device)
        frontend = model.frontend
        self.noise_power_M = frontend.noise_power()
        self.frames_hz = frontend.sample_rate_hz / frontend.hop_samples

    def to_device(self, batch: Batch, monitor: EpochMonitor) -> tuple[Tensor, Tensor]:
        """Return inputs and targets [B, C] on the device."""
        begin = time.perf_counter()
        inputs = batch.inputs.to(self.device, non_blocking=True)
        ids = torch.from_numpy(batch.ids).to(self.device, non_blocking=True)
        targets = self.target_NC.index_select(0, ids)
        monitor.transfer_s += time.perf_counter() - begin
        return inputs, targets

    def clean(self, inputs: Tensor) -> Tensor:
        """Return normalised spectrograms [B, M, F]: what validation and prediction see."""
        return self.model.normaliser.scale(self.model.centred(inputs))

    @torch.no_grad()
    def augmented(
        self,
        batch: Batch,
        inputs: Tensor,
        target: Tensor,
        epoch: int,
        repeat_B: IntArray | None = None,
        monitor: EpochMonitor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return normalised and augmented spectrograms [B, M, F] with their targets [B, C].

        Args:
            repeat_B: how often the epoch has come to each segment before; None: not yet.
            monitor: told how long it took; on a GPU, to give it the work.
        """
        begin = time.perf_counter()
        rule, frontend = self.augment, self.model.frontend
        key_B = self.task.key_N[batch.ids]
        key_B = key_B if repeat_B is None else draw_keys(key_B, repeat_B)
        draws = Draws(self.seed, epoch, key_B)
        if inputs.dim() == 2:
            inputs = augment_wave(inputs, draws, rule, rate_hz=frontend.sample_rate_hz)
            spec = frontend(inputs)
        elif frontend.kind == "logmel":
            spec = augment_logmel(
                inputs,
                draws,
                rule,
                frames_hz=self.frames_hz,
                noise_power_M=self.noise_power_M,
                floor_db=frontend.floor_db,
            )
        else:
            spec = inputs
        spec = self.model.normaliser.centre(spec)
        if frontend.kind == "logmel":
            spec = equalise(spec, draws, rule)
        spec = self.model.normaliser.scale(spec)
        spec = mask_spectrogram(spec, draws, rule, frames_hz=self.frames_hz)
        mixed = mixup(spec, target, draws, rule)
        if monitor is not None:
            monitor.augment_s += time.perf_counter() - begin
        return mixed
