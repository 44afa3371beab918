"""Who fetches the batches of a case, and what follows from it: pinning and worker processes."""

from __future__ import annotations

from chirpid.loading.decision import Decision, clamped
from chirpid.loading.inputs import Case, Items
from chirpid.types import Backend, Mode, Policy, StartMethod, size_text

WITH_WORKERS = (Backend.threads, Backend.processes)
HAND_OVER_S = 1e-3
"""A batch that is made sooner than this is not worth a worker: handing it over takes its time."""


def choose_backend(case: Case) -> Decision[Backend]:
    """Return who fetches: as asked, else as probed, else by policy and dataset."""
    wanted = _wanted(case)
    items = case.traits.items
    if wanted.value is Backend.threads and items is not None and items.draws:
        return clamped(wanted, Backend.processes, "its samples draw random numbers, which threads "
                       "would take from each other and from the training")  # fmt: skip
    if wanted.value is not Backend.device:
        return wanted
    problem = _device_problem(case)
    return wanted if problem is None else clamped(wanted, _on_host(case).value, problem)


def _wanted(case: Case) -> Decision[Backend]:
    wish, picks = case.wish, case.picks
    if wish.backend is not Backend.auto:
        return Decision(wish.backend, "override", "loader.backend")
    if wish.num_workers == 0:
        return Decision(Backend.inline, "override", "loader.num_workers=0")
    if picks is not None and (wish.num_workers is None or picks.backend in WITH_WORKERS):
        return Decision(picks.backend, "probe", picks.reason)
    if wish.policy is Policy.device:
        return Decision(Backend.device, "policy", "device: the whole set lives on the GPU")
    if wish.policy is Policy.auto and not wish.num_workers and _device_problem(case) is None:
        return Decision(Backend.device, "policy", "auto: the set fits on the GPU beside the model")
    return _on_host(case)


def _on_host(case: Case) -> Decision[Backend]:
    """Return who fetches where the set does not live on the GPU and nothing else is asked for."""
    policy, items = case.wish.policy, case.traits.items
    if case.wish.num_workers:
        workers = Backend.threads if items is None else _workers_for(items).value
        return Decision(workers, "override", "loader.num_workers asks for workers")
    if policy is Policy.safe:
        return Decision(Backend.inline, "policy", "safe: no threads, no processes")
    if items is not None:
        return _for_items(case, items)
    if case.kept and policy is Policy.aggressive and case.machine.num_cores > 1:
        return Decision(Backend.threads, "policy", "gathers overlap with the training step")
    if case.traits.beyond_ram:
        return Decision(Backend.threads, "dataset", "rows come from the disk while the model works")
    if case.kept:
        return Decision(Backend.inline, "dataset", "a gather is quicker than handing it over")
    return Decision(Backend.threads, "dataset", "decoders release the GIL; threads start at once")


def _for_items(case: Case, items: Items) -> Decision[Backend]:
    """Return who makes batches of Python objects, by what one of them took."""
    took_ms = items.batch_s * 1e3
    took = f"a batch took {took_ms:.2g} ms" if took_ms < 10 else f"a batch took {took_ms:,.0f} ms"
    if items.batch_s < HAND_OVER_S:
        return Decision(Backend.inline, "dataset", f"{took}: less than handing it over is worth")
    if case.machine.num_cores == 1:
        return Decision(Backend.inline, "machine", "one core: workers would take turns")
    workers = _workers_for(items)
    return Decision(workers.value, "dataset", f"{took}; {workers.reason}")


def _workers_for(items: Items) -> Decision[Backend]:
    if items.thread_safe and not items.draws:
        return Decision(Backend.threads, "dataset", "it may be asked by threads")
    return Decision(Backend.processes, "dataset", "its Python code holds the GIL")


def _device_problem(case: Case) -> str | None:
    machine, traits = case.machine, case.traits
    if machine.gpu is None:
        return "there is no GPU"
    if traits.mode is not Mode.eager:
        return f"mode={traits.mode.value} does not hold the set; use mode=eager"
    if traits.store_bytes > machine.gpu_bytes // 2:
        return (
            f"the set needs {size_text(traits.store_bytes)}, half of the GPU is "
            f"{size_text(machine.gpu_bytes / 2)}"
        )
    return None


def choose_pinning(case: Case, backend: Backend) -> Decision[bool]:
    """Return whether batches are page-locked."""
    asked = case.wish.pin_memory
    wanted = Decision(bool(asked), "override", f"loader.pin_memory={asked}".lower())
    if asked is None:
        wanted = _usual_pinning(case)
    if backend is Backend.device:
        reason = "batches are made on the GPU"
    elif case.machine.gpu is None:
        reason = "there is no GPU to copy to"
    else:
        return wanted
    if asked:
        return clamped(wanted, False, reason)
    return Decision(False, "machine" if case.machine.gpu is None else "dataset", reason)


def _usual_pinning(case: Case) -> Decision[bool]:
    if not case.profile.pin_memory:
        return Decision(False, "profile", "hardware.pin_memory=false")
    if case.picks is not None and case.picks.pin_memory is False:
        return Decision(False, "probe", "page-locked batches were copied no faster")
    if case.wish.policy is Policy.safe:
        return Decision(False, "policy", "safe: no page-locked memory")
    return Decision(True, "profile", "page-locked batches copy to the GPU while it computes")


def choose_persistence(case: Case, backend: Backend) -> Decision[bool]:
    """Return whether worker processes outlive a pass."""
    asked = case.wish.persistent_workers
    if backend is Backend.processes:
        if asked is not None:
            return Decision(asked, "override", "loader.persistent_workers")
        if case.profile.persistent_workers:
            return Decision(True, "profile", "workers outlive epochs and folds")
        return Decision(False, "profile", "hardware.persistent_workers=false")
    there_are = backend is Backend.threads
    reason = "threads outlive epochs and folds" if there_are else "there are no workers"
    if asked is None or case.wish.backend is not Backend.auto:  # settings have told of the latter
        return Decision(there_are, "dataset", reason)
    return clamped(Decision(asked, "override", reason), there_are, reason)


def choose_start(case: Case, backend: Backend) -> Decision[StartMethod]:
    """Return how worker processes start."""
    asked = Decision(case.wish.start_method, "override", "loader.start_method")
    if backend is not Backend.processes:
        reason = "there are no worker processes"
        if asked.value is StartMethod.auto or case.wish.backend is not Backend.auto:
            return Decision(StartMethod.auto, "dataset", reason)
        return clamped(asked, StartMethod.auto, reason)
    if asked.value is not StartMethod.auto:
        return asked
    items = case.traits.items
    if items is not None and items.only_fork is not None:
        return Decision(StartMethod.fork, "dataset", items.only_fork)
    # fork copies locks that other threads hold; the tracker's sender is such a thread.
    return Decision(StartMethod.forkserver, "policy", "safe beside threads and CUDA")
