"""A network that the user names: found, made, and tried on one batch before any work is done."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from chirpid.errors import ConfigError, did_you_mean
from chirpid.targets import find_target


def find_model(target: str) -> Callable[..., Any]:
    """Return the class or function at a dotted path; modules in the user's folder are found, too.

    Raises:
        ConfigError: there is none.
    """
    return find_target(
        target, setting="model.target", form="package.module.Class", kind="a class or function"
    )


def make_network(target: str, params: Mapping[str, Any], num_classes: int) -> nn.Module:
    """Return the untrained network `target(num_classes=..., **params)`.

    Raises:
        ConfigError: it does not take `params`, fails, or is no torch module.
    """
    make = find_model(target)
    _check_params(make, target, params)
    try:
        network = make(num_classes=num_classes, **params)
    except Exception as error:
        raise ConfigError(
            f"model.target={target} cannot be made with {_given(params)}: {_said(error)}."
        ) from error
    if not isinstance(network, nn.Module):
        raise ConfigError(f"model.target={target} does not make a torch module.")
    return network


def try_network(network: nn.Module, target: str, *, num_mels: int, num_frames: int) -> int:
    """Return the number of logits that the network gives for spectrograms of this size.

    Raises:
        ConfigError: it does not take them, or does not return [B, C].
    """
    spec = torch.zeros(2, 1, num_mels, num_frames)
    shape = f"[B, 1, {num_mels}, {num_frames}]"
    network.eval()
    try:
        with torch.no_grad():
            logits = network(spec)
    except Exception as error:
        raise ConfigError(
            f"model.target={target} does not take spectrograms {shape} (batch, 1, "
            f"frontend.num_mels, frames): {_said(error)}."
        ) from error
    found = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
    if not isinstance(logits, Tensor) or logits.dim() != 2 or len(logits) != len(spec):
        raise ConfigError(
            f"model.target={target} returns {found} for 2 spectrograms {shape}, not logits [2, C]."
        )
    return int(logits.shape[1])


def _check_params(make: Callable[..., Any], target: str, params: Mapping[str, Any]) -> None:
    known = inspect.signature(make).parameters
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return
    names = [name for name in known if name != "num_classes"]
    for name in params:
        if name not in names:
            raise ConfigError(
                f"Unknown setting 'model.params.{name}'.{did_you_mean(name, names)} "
                f"model.target={target} takes: {', '.join(names) or 'none'}. A class of your own "
                "starts without parameters with model=custom."
            )


def _given(params: Mapping[str, Any]) -> str:
    return ", ".join(f"model.params.{k}={v}" for k, v in params.items()) or "no model.params"


def _said(error: Exception) -> str:
    """Return the first line of an error, with the line of code that raised it."""
    text = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "torch/" not in f.filename]
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if len(frames) > 1 else ""
    return f"{type(error).__name__}: {text}{where}"
