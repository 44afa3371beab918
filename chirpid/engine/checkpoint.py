"""Checkpoints: whole or absent, and read back on any device."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from chirpid.errors import StorageError
from chirpid.storage.atomic import replacing

State = dict[str, Any]

_DAMAGE = (
    RuntimeError, EOFError, OSError, LookupError, ValueError, pickle.UnpicklingError,
    zipfile.BadZipFile, zlib.error, struct.error,
)  # fmt: skip
"""What torch, zip and pickle end in, depending on where a file is damaged."""


def save(path: Path, state: State) -> None:
    """Write a checkpoint in place of the one before.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """
    # Not straight into the file: torch makes a RuntimeError of a full disk.
    whole = io.BytesIO()
    torch.save(state, whole)
    with replacing(path) as handle:
        handle.write(whole.getbuffer())


def load(path: Path, names: Collection[str] | None = None) -> State | None:
    """Return the checkpoint with its tensors on the CPU, or None if there is none.

    Args:
        names: what it must hold, and no more; None takes it as it is.
    Raises:
        StorageError: the file is damaged, or another version of the program wrote it.
    """
    try:
        _check(path)
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except _DAMAGE as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(". ")
        raise StorageError(
            f"{path} is damaged ({reason}). Remove it to train this fold anew."
        ) from error
    if names is not None and state.keys() != set(names):
        other = ", ".join(sorted(map(str, state.keys() ^ set(names))))
        raise StorageError(
            f"{path} was written by another version of chirpid (other content: {other}). Resume "
            "with that version, or start anew without resume."
        )
    return state


def _check(path: Path) -> None:
    """Hold every part of the file against its checksum, which torch writes and does not read."""
    with zipfile.ZipFile(path) as archive:
        bad = archive.testzip()
    if bad:
        raise zipfile.BadZipFile(f"the checksum of {bad} is wrong")


def rng_state() -> State:
    """Return the state of the generators that dropout draws from."""
    state: State = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_rng_state(state: State) -> None:
    """Put the generators where they were."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])
