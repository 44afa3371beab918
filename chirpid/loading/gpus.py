"""The GPUs: those that torch can use, those that only the driver sees, and what pinning brings."""

from __future__ import annotations

import time
from dataclasses import dataclass
from statistics import median
from typing import Any

from chirpid.loading.topology import node_of_pci

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. What is not told is None."""

    name: str
    ram_bytes: int
    usable: bool
    """torch can use it. False: the driver sees it, and torch was built without CUDA, for an
    older driver, or CUDA_VISIBLE_DEVICES leaves it out."""
    free_bytes: int | None = None
    capability: str | None = None
    """Compute capability, such as "9.0"."""
    driver: str | None = None
    pci: str | None = None
    node: int | None = None
    """NUMA node that it hangs on."""


@dataclass(frozen=True, slots=True)
class CopyRates:
    """Bytes per second from RAM to the GPU."""

    pageable: float
    pinned: float


def read_gpus() -> list[Gpu]:
    """Return the GPUs that torch can use, in its order, then those that the driver sees alone.

    Asking torch starts CUDA, which takes GPU memory while this process lives.
    """
    seen = _seen_by_driver()
    used = _used_by_torch({gpu.pci: gpu for gpu in seen if gpu.pci})
    known = {gpu.pci for gpu in used if gpu.pci}
    if used and not known:  # a torch that does not tell addresses: nothing to compare
        return used
    return used + [gpu for gpu in seen if gpu.pci not in known]


def copy_rates(num_bytes: int = 64 * MIB, repeats: int = 7) -> CopyRates | None:
    """Measure copies to the current GPU, a fraction of a second; None without one.

    Medians, after one copy of each kind that pays for setting things up.
    """
    import torch

    if not torch.cuda.is_available():
        return None
    pageable = torch.ones(num_bytes, dtype=torch.uint8)
    pinned = pageable.pin_memory()
    there = torch.empty_like(pageable, device="cuda")
    return CopyRates(_rate(there, pageable, repeats), _rate(there, pinned, repeats))


def _rate(there: Any, here: Any, repeats: int) -> float:
    import torch

    seconds = []
    for _ in range(repeats + 1):
        torch.cuda.synchronize()
        begin = time.perf_counter()
        there.copy_(here, non_blocking=True)
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - begin)
    return float(here.numel() / median(seconds[1:]))


def _used_by_torch(seen: dict[str, Gpu]) -> list[Gpu]:
    import torch

    if not torch.cuda.is_available():
        return []
    gpus = []
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        pci = _address(facts)
        other = seen.get(pci or "")
        gpus.append(
            Gpu(
                name=str(facts.name),
                ram_bytes=int(facts.total_memory),
                usable=True,
                free_bytes=torch.cuda.mem_get_info(index)[0],
                capability=f"{facts.major}.{facts.minor}",
                driver=other.driver if other else None,
                pci=pci,
                node=node_of_pci(pci) if pci else None,
            )
        )
    return gpus


def _address(facts: Any) -> str | None:
    try:
        return f"{facts.pci_domain_id:04x}:{facts.pci_bus_id:02x}:{facts.pci_device_id:02x}.0"
    except AttributeError:  # ROCm, and torch before 2.5
        return None


def _seen_by_driver() -> list[Gpu]:
    """Return what NVIDIA's library tells, without starting CUDA."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - no library, no driver, no GPU: each raises its own kind
        return []
    try:
        driver = _as_text(pynvml.nvmlSystemGetDriverVersion())
        return [_told(pynvml, index, driver) for index in range(pynvml.nvmlDeviceGetCount())]
    except pynvml.NVMLError:
        return []
    finally:
        pynvml.nvmlShutdown()


def _told(pynvml: Any, index: int, driver: str) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    domain, _, rest = _as_text(pynvml.nvmlDeviceGetPciInfo(handle).busId).lower().partition(":")
    pci = f"{domain[-4:]}:{rest}"
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Gpu(
        name=_as_text(pynvml.nvmlDeviceGetName(handle)),
        ram_bytes=int(memory.total),
        usable=False,
        free_bytes=int(memory.free),
        capability=f"{major}.{minor}",
        driver=driver,
        pci=pci,
        node=node_of_pci(pci),
    )


def _as_text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
