"""The registry that ChirpID looks names up in, with the collators that are built in."""

from __future__ import annotations

from chirpid.data.collate.audio import AudioCollator
from chirpid.data.collate.default import DefaultCollator
from chirpid.data.collate.entry import GROUP
from chirpid.data.collate.language import LanguageModelCollator
from chirpid.data.collate.multimodal import MultimodalCollator
from chirpid.data.collate.pad import PadCollator
from chirpid.data.collate.registry import CollatorRegistry
from chirpid.data.collate.text import TextCollator
from chirpid.data.collate.vision import VisionCollator

BUILT_IN = {
    "default": DefaultCollator,
    "pad": PadCollator,
    "audio": AudioCollator,
    "vision": VisionCollator,
    "text": TextCollator,
    "language_model": LanguageModelCollator,
    "multimodal": MultimodalCollator,
}


def built_in(*, group: str | None = None) -> CollatorRegistry:
    """Return a new registry of the collators that are built in."""
    registry = CollatorRegistry(group=group)
    for name, collator in BUILT_IN.items():
        registry.register(name)(collator)
    return registry


collators = built_in(group=GROUP)
"""The registry of this process. Register here what a loader is to find by its name."""
