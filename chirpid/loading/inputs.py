"""What a loader plan is made from: facts of machine and profile, wishes, the traits of the set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from chirpid.loading.hardware import GIB, Machine
from chirpid.types import Backend, Mode, Policy, StartMethod

NO_GPU = "none"
"""`Profile.gpu` of a machine whose GPU, if any, is left alone."""


@dataclass(frozen=True, slots=True)
class Profile:
    """What `hardware` says: facts to plan for, and caps. None is taken from the machine.

    Names and defaults are those of the settings, where their meaning is written; sizes in bytes
    are there in GiB.
    """

    name: str = "auto"
    num_cores: int | None = None
    ram_bytes: int | None = None
    gpu: str | None = None
    """The words of the GPU's name that count; "none" leaves a GPU alone."""
    gpu_bytes: int | None = None
    num_workers_heavy: int | None = None
    prefetch_heavy: int = 4
    num_workers_light: int | None = None
    prefetch_light: int = 4
    core_fraction: float = 0.75
    small_set_samples: int = 1000
    max_workers_small: int = 4
    large_set_samples: int = 10000
    extra_workers_large: int = 2
    max_workers: int = 16
    low_memory_bytes: int = 4 * GIB
    max_workers_low_memory: int = 2
    pin_memory: bool = True
    persistent_workers: bool = True

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Profile:
        """Return the profile that settings of the group `hardware` describe."""
        names = {field.name for field in fields(cls)}
        return cls(
            **{name: value for name, value in settings.items() if name in names},
            ram_bytes=_bytes(settings["ram_gib"]),
            gpu_bytes=_bytes(settings["gpu_memory_gib"]),
            low_memory_bytes=int(settings["low_memory_gib"] * GIB),
        )


def _bytes(gib: float | None) -> int | None:
    return None if gib is None else int(gib * GIB)


@dataclass(frozen=True, slots=True)
class Items:
    """What was seen of a dataset that returns a Python object for each sample."""

    batch_s: float
    """Seconds that a batch took in the calling thread."""
    thread_safe: bool = False
    """Several threads may ask it at once, and gain by it."""
    draws: bool = False
    """Making a sample draws random numbers from generators that threads would share."""
    only_fork: str | None = None
    """Why worker processes can only be forked."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What `loader` says. None is decided here."""

    policy: Policy = Policy.balanced
    backend: Backend = Backend.auto
    num_workers: int | None = None
    prefetch: int | None = None
    pin_memory: bool | None = None
    persistent_workers: bool | None = None
    start_method: StartMethod = StartMethod.auto


@dataclass(frozen=True, slots=True)
class Picks:
    """What a probe found best: decisions whose source is `probe`.

    What the user asked for goes before them, budgets and caps still clamp them. The mode that a
    probe chose is `Traits.mode`.
    """

    backend: Backend
    num_workers: int
    """Ignored where the backend has no workers."""
    prefetch: int
    reason: str
    """Such as "3,100 samples/s predicted, decoding bounds it": the reason of each decision."""
    pin_memory: bool | None = None
    """Whether page-locked memory was the quicker one; None where there is no GPU to ask."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What is known of the dataset before anything is loaded."""

    mode: Mode
    num_segments: int
    batch_bytes: int
    """Bytes of one float32 batch."""
    store_bytes: int
    """Bytes of all rows as kept."""
    resident_bytes: int = 0
    """Bytes of RAM that the mode itself holds."""
    heavy: bool = False
    """Decoding, the front end or augmentation run while a batch is fetched."""
    beyond_ram: bool = False
    """The store of mode=cached is larger than RAM: rows come from the disk in every epoch."""
    items: Items | None = None
    """None for recordings, and for whatever is copied without a Python object for each sample."""


@dataclass(frozen=True, slots=True)
class Case:
    """All that a plan follows from."""

    machine: Machine
    profile: Profile
    wish: Wish
    traits: Traits
    budget_bytes: int
    """RAM that loading may take."""
    picks: Picks | None = None

    @property
    def num_cores(self) -> int:
        """Cores to plan for: those of the profile, as far as they are here."""
        return min(self.profile.num_cores or self.machine.num_cores, self.machine.num_cores)

    @property
    def kept(self) -> bool:
        """The rows are finished, so fetching is copying."""
        return self.traits.mode in (Mode.eager, Mode.cached)


def within(machine: Machine, profile: Profile) -> Machine:
    """Return the machine as far as the profile lets it be used: memory, and the GPU."""
    ram = machine.ram_bytes if profile.ram_bytes is None else profile.ram_bytes
    gpu, gpu_bytes = machine.gpu, machine.gpu_bytes
    if profile.gpu == NO_GPU:
        gpu, gpu_bytes = None, 0
    elif profile.gpu_bytes is not None:
        gpu_bytes = min(gpu_bytes, profile.gpu_bytes)
    return replace(
        machine,
        ram_bytes=min(machine.ram_bytes, ram),
        free_bytes=min(machine.free_bytes, ram),
        gpu=gpu,
        gpu_bytes=gpu_bytes,
    )
