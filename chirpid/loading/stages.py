"""What the stages of loading are called: in figures, on bars, as what bounds, and in sentences."""

from __future__ import annotations

STAGES = ("decode", "resample", "frontend", "gather", "read")
"""As figures name them, in the order in which a sample goes through them."""
_LABELS = {"frontend": "front end", "gather": "copy"}
_PHRASES = {
    "decode": "decoding",
    "resample": "resampling",
    "frontend": "the front end",
    "gather": "copying rows",
    "read": "reading rows",
    "disk": "waiting for the disk",
}
UNKNOWN = "unknown"
"""What bound a run that was too short to tell."""
_BOUNDS = {
    **{_LABELS.get(stage, stage): phrase for stage, phrase in _PHRASES.items()},
    "model": "the model",
    "disk": "the disk",
    "cores": "the cores, which model and loading share",
    "lock": "Python's lock",
    UNKNOWN: "too short to tell",
}


def label(stage: str) -> str:
    """Return the short name of a stage: "front end"."""
    return _LABELS.get(stage, stage)


def phrase(stage: str) -> str:
    """Return a stage as something that is done: "decoding", "the front end"."""
    return _PHRASES.get(stage, stage)


def bound_of(stage: str) -> str:
    """Return what bounds where a stage is the dearest: its short name; reading is the disk's."""
    return "disk" if stage == "read" else label(stage)


def bound_phrase(bound: str) -> str:
    """Return what bounds, in words: "the model", "decoding", "the front end"."""
    return _BOUNDS.get(bound, bound)
