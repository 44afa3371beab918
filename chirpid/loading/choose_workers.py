"""How many workers fetch the batches of a case, and how far they run ahead."""

from __future__ import annotations

from chirpid.loading.choose_backend import WITH_WORKERS
from chirpid.loading.decision import Decision, clamped
from chirpid.loading.inputs import Case, Picks
from chirpid.types import Backend, Policy, size_text


def in_flight(num_workers: int, prefetch: int) -> int:
    """Return the batches that exist at once: in preparation, and two with the caller."""
    return num_workers * prefetch + 2 if num_workers else 2


def choose_workers(case: Case, backend: Backend) -> tuple[Decision[int], Decision[int]]:
    """Return (workers, prefetch), lowered to the caps and to what the budget has room for.

    No worker where the backend has some means that not even one fits.
    """
    if backend not in WITH_WORKERS:
        return without_workers(case, f"backend {backend.value} fetches in the caller")
    workers = _capped(case, _wanted_workers(case, backend))
    return _fitted(case, workers, _wanted_prefetch(case, backend))


def without_workers(
    case: Case, reason: str, wanted: Decision[int] | None = None
) -> tuple[Decision[int], Decision[int]]:
    """Return (workers, prefetch) of a backend that has no workers.

    Args:
        wanted: workers that were decided on before; None takes those that were asked for.
    """
    if wanted is None:
        wanted = Decision(case.wish.num_workers or 0, "dataset", reason)
    prefetch = Decision(case.wish.prefetch or 1, "dataset", "nothing is fetched ahead")
    return clamped(wanted, 0, reason), clamped(prefetch, 1, "nothing is fetched ahead")


def _wanted_workers(case: Case, backend: Backend) -> Decision[int]:
    asked, picks = case.wish.num_workers, _picks_of(case, backend)
    if asked == 0:
        reason = f"loader.backend={backend.value} has workers"
        return clamped(Decision(0, "override", "loader.num_workers"), 1, reason)
    if asked is not None:
        return Decision(asked, "override", "loader.num_workers")
    if picks is not None:
        return Decision(picks.num_workers, "probe", picks.reason)
    return _usual_workers(case)


def _picks_of(case: Case, backend: Backend) -> Picks | None:
    """Return what a probe picked, if it did so for this backend."""
    return case.picks if case.picks is not None and case.picks.backend is backend else None


def _usual_workers(case: Case) -> Decision[int]:
    profile, policy = case.profile, case.wish.policy
    kind = "heavy" if case.traits.heavy else "light"
    named = profile.num_workers_heavy if case.traits.heavy else profile.num_workers_light
    if named is not None:
        value, source = named, "profile"
        reason = f"{profile.name}: {named} workers for {kind} work"
    else:
        share = 1.0 if policy is Policy.aggressive else profile.core_fraction
        value, source = max(1, int(case.num_cores * share)), "machine"
        reason = f"{share:.0%} of {case.num_cores} cores"
    if case.traits.num_segments > profile.large_set_samples:
        more = max(value, min(value + profile.extra_workers_large, profile.max_workers))
        reason += f", {more - value} more above {profile.large_set_samples} segments"
        value = more
    if policy is Policy.safe:
        return Decision(min(value, 1), "policy", "safe: one worker")
    return Decision(value, source, reason)


def _capped(case: Case, wanted: Decision[int]) -> Decision[int]:
    """Lower the workers to the lowest cap."""
    machine, profile = case.machine, case.profile
    caps = [
        (machine.num_cores, f"this machine has {machine.num_cores} usable cores"),
        (profile.max_workers, f"hardware.max_workers={profile.max_workers}"),
    ]
    if machine.free_bytes < profile.low_memory_bytes:
        caps.append((profile.max_workers_low_memory, f"{size_text(machine.free_bytes)} free"))
    # A rule of thumb does not overrule what was asked for, nor what was measured.
    is_usual = case.wish.num_workers is None and wanted.source != "probe"
    if is_usual and case.traits.num_segments < profile.small_set_samples:
        caps.append((profile.max_workers_small, f"only {case.traits.num_segments} segments"))
    cap, why = min(caps, key=lambda one: one[0])
    return clamped(wanted, min(cap, wanted.value), why)


def _wanted_prefetch(case: Case, backend: Backend) -> Decision[int]:
    profile, policy, picks = case.profile, case.wish.policy, _picks_of(case, backend)
    if case.wish.prefetch is not None:
        return Decision(case.wish.prefetch, "override", "loader.prefetch")
    if picks is not None:
        return Decision(max(1, picks.prefetch), "probe", picks.reason)
    value = profile.prefetch_heavy if case.traits.heavy else profile.prefetch_light
    if policy is Policy.safe:
        return Decision(min(2, value), "policy", "safe: little memory")
    if policy is Policy.aggressive:
        return Decision(2 * value, "policy", "aggressive: twice the profile's")
    return Decision(value, "profile", f"{profile.name}: batches per worker")


def _fitted(
    case: Case, workers: Decision[int], prefetch: Decision[int]
) -> tuple[Decision[int], Decision[int]]:
    """Lower prefetch, then workers, until the batches in flight fit the budget."""
    if workers.value == 0:
        return workers, prefetch
    batch_bytes = max(1, case.traits.batch_bytes)
    room = max(0, case.budget_bytes - case.traits.resident_bytes)
    most = max(0, room // batch_bytes - 2)  # batches in preparation
    why = f"batches of {size_text(batch_bytes)}, {size_text(room)} to spend"
    return (
        clamped(workers, min(workers.value, most), why),
        clamped(prefetch, max(1, min(prefetch.value, most // workers.value)), why),
    )
