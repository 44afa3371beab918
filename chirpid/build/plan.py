"""From settings and the machine to the loader plan and the place of stores."""

from __future__ import annotations

from dataclasses import asdict

from chirpid.build.fields import picked
from chirpid.config.paths import cache_dir
from chirpid.config.schema import RootConfig
from chirpid.data.kept import RowSpec
from chirpid.data.modes import StoreOptions
from chirpid.loading.hardware import GIB, Machine
from chirpid.loading.inputs import within
from chirpid.loading.plan import LoaderPlan, Picks, Profile, Traits, Wish, make_plan
from chirpid.types import Backend, Mode, StartMethod


def profile_of(config: RootConfig) -> Profile:
    """Return the hardware profile as the plan takes it."""
    return Profile.of(asdict(config.hardware))


def ram_budget(config: RootConfig, machine: Machine) -> int:
    """Return the bytes of RAM that loading may take."""
    if config.memory.budget_gib is not None:
        return int(config.memory.budget_gib * GIB)
    return int(config.memory.fraction * within(machine, profile_of(config)).free_bytes)


def largest_batch(config: RootConfig, num_segments: int) -> int:
    """Return the samples of the largest batch that comes: one larger than the set never does."""
    # Draws from several sets repeat segments: an epoch may have more samples than the sets.
    num_draws = (config.loader.epoch_segments or 0) if config.dataset.mix else 0
    train = min(config.loader.batch_size, max(num_segments, num_draws))
    return max(train, largest_eval_batch(config, num_segments))


def largest_eval_batch(config: RootConfig, num_segments: int) -> int:
    """Return the same of validation alone."""
    return min(config.loader.eval_batch_size or config.loader.batch_size, num_segments)


def window_bytes(config: RootConfig, spec: RowSpec, num_segments: int) -> int:
    """Return the RAM that the window of mode=streaming takes."""
    shards = -(-config.mode.window_segments // config.mode.shard_segments) + 1
    return min(num_segments, shards * config.mode.shard_segments) * spec.row_bytes


def plan_of(
    config: RootConfig,
    machine: Machine,
    spec: RowSpec,
    num_segments: int,
    picks: Picks | None = None,
) -> LoaderPlan:
    """Return how batches will be fetched, and why.

    Args:
        picks: what a probe chose for the mode of `config`.
    """
    mode = config.mode.name
    store_bytes = spec.row_bytes * num_segments
    streamed = window_bytes(config, spec, num_segments)
    resident = {Mode.eager: store_bytes, Mode.streaming: streamed}
    traits = Traits(
        mode=mode,
        num_segments=num_segments,
        batch_bytes=largest_batch(config, num_segments) * spec.batch_row_bytes,
        store_bytes=store_bytes,
        resident_bytes=resident.get(mode, 0),
        heavy=mode is Mode.lazy,
        beyond_ram=mode is Mode.cached and store_bytes > machine.free_bytes,
    )
    return make_plan(
        machine=machine,
        profile=profile_of(config),
        wish=Wish(**picked(Wish, config.loader)),
        traits=traits,
        budget_bytes=ram_budget(config, machine),
        picks=picks,
    )


def store_options(config: RootConfig, machine: Machine, plan: LoaderPlan) -> StoreOptions:
    """Return where stores lie and what they may take."""
    processes = plan.backend.value is Backend.processes
    return StoreOptions(
        cache_root=cache_dir(config.paths),
        cache_bytes=int(config.mode.cache_gib * GIB),
        ram_bytes=ram_budget(config, machine),
        num_threads=machine.num_cores,
        share=processes and plan.start_method.value is not StartMethod.fork,
        free_bytes=machine.free_bytes,
        **picked(StoreOptions, config.mode),
    )
