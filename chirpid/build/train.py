"""From settings to the device, the rule of training and the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from chirpid.audio.augment import AugmentRule
from chirpid.build.data import frontend_of
from chirpid.build.fields import picked
from chirpid.config.schema import RootConfig
from chirpid.engine.model import BirdModel
from chirpid.engine.rule import TrainRule
from chirpid.errors import ConfigError
from chirpid.loading.inputs import NO_GPU
from chirpid.models.named import find_model, make_network, try_network


def device_of(config: RootConfig) -> torch.device:
    """Return the device that the model runs on.

    Raises:
        ConfigError: it is asked for by name and is not there.
    """
    wanted = config.engine.device
    if wanted == "auto":
        if config.hardware.gpu == NO_GPU:
            return torch.device("cpu")
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(wanted)
    except RuntimeError as error:
        raise ConfigError(
            f"engine.device={wanted} is no device. Use auto, cpu, cuda, cuda:1 or mps."
        ) from error
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ConfigError(
            f"engine.device={wanted} is not here: this machine has {count} CUDA devices. "
            "Use engine.device=auto or cpu."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("engine.device=mps is not here. Use engine.device=auto or cpu.")
    return device


def train_rule(config: RootConfig) -> TrainRule:
    """Return how a fold is trained."""
    taken: dict[str, Any] = {}
    for group in (config.engine, config.optim, config.loader, config.mode):
        taken |= picked(TrainRule, group)
    augment = picked(AugmentRule, config.augment)
    return TrainRule(
        **taken
        | {
            "seed": config.seed,
            "selection": config.engine.selection.value,
            "optimiser": config.optim.name.value,
            "checkpoint_s": config.engine.checkpoint_minutes * 60,
            "block_segments": config.mode.shard_segments,
            "eval_batch_size": config.loader.eval_batch_size or config.loader.batch_size,
            "augment": AugmentRule(**augment),
        }
    )


def model_maker(config: RootConfig, classes: Sequence[str]) -> Callable[[], BirdModel]:
    """Return a function that makes the untrained model, anew for each fold.

    Raises:
        ConfigError: `model.target` does not exist, or does not take `model.params`.
    """
    target, params = config.model.target, config.model.params

    def make() -> BirdModel:
        return BirdModel(
            frontend_of(config),
            make_network(target, params, len(classes)),
            classes,
            clip_median=config.frontend.clip_median,
        )

    find_model(target)
    return make


def try_model(config: RootConfig, classes: Sequence[str]) -> None:
    """Make the model once and give it a batch: what does not fit is told before any work.

    Raises:
        ConfigError: `model.target` and `model.params` do not make a model of this task.
    """
    target = config.model.target
    network, frontend = make_network(target, config.model.params, len(classes)), frontend_of(config)
    num_frames = frontend.num_frames(round(config.segment.duration_s * frontend.sample_rate_hz))
    found = try_network(network, target, num_mels=frontend.num_mels, num_frames=num_frames)
    if found != len(classes):
        raise ConfigError(
            f"model.target={target} gives {found} logits and there are {len(classes)} classes. "
            "It must use the num_classes that it is given."
        )
