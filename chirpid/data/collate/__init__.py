"""From a list of samples to a batch, by modality; `collators` has them by name."""

from chirpid.data.collate.audio import AudioCollator
from chirpid.data.collate.builtin import collators
from chirpid.data.collate.default import Collator, DefaultCollator
from chirpid.data.collate.language import LanguageModelCollator
from chirpid.data.collate.looks import Choice
from chirpid.data.collate.multimodal import MultimodalCollator
from chirpid.data.collate.pad import PadCollator
from chirpid.data.collate.padding import Padded
from chirpid.data.collate.registry import CollatorRegistry
from chirpid.data.collate.text import TextCollator
from chirpid.data.collate.vision import NORMALISATIONS, VisionCollator

__all__ = [
    "NORMALISATIONS",
    "AudioCollator",
    "Choice",
    "Collator",
    "CollatorRegistry",
    "DefaultCollator",
    "LanguageModelCollator",
    "MultimodalCollator",
    "PadCollator",
    "Padded",
    "TextCollator",
    "VisionCollator",
    "collators",
]
