"""What a loader does, why, what it measured, and what to change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chirpid.data.general.source import ReaderSource
from chirpid.errors import ConfigError
from chirpid.loading.universal.adapting import changes_told
from chirpid.loading.universal.base import AnyLoader
from chirpid.loading.universal.loader import UniversalLoader
from chirpid.loading.universal.passes import Passes
from chirpid.loading.universal.streams import StreamLoader
from chirpid.types import Backend, size_text

ENOUGH_S = 1.0
"""A pass of less tells too little to advise by."""
WORTH = 0.05
"""Less of the time spent waiting is not worth a change."""


def explain(loader: AnyLoader | Passes) -> None:
    """Print what a loader does and why; after a pass, what was measured, and advice.

    Raises:
        ConfigError: it is no loader of ours.
    """
    print(explanation(loader))


def explanation(loader: AnyLoader | Passes) -> str:
    """Return what `explain` prints."""
    if isinstance(loader, Passes):  # of a data module
        loader = loader.loader
    if not isinstance(loader, AnyLoader):
        raise ConfigError(
            f"{type(loader).__name__} is no loader of ours. Give what make_loader returned, or a "
            "loader of a module: explain(module.train_dataloader())."
        )
    lines = []
    if isinstance(loader, StreamLoader):
        lines = _of_stream(loader)
    elif isinstance(loader, UniversalLoader):
        lines = _of_plan(loader)
    return "\n".join([*lines, *_measured(loader)])


def _of_stream(loader: StreamLoader) -> list[str]:
    rule = loader.rule
    order = "in its own order" if rule.window == 1 else f"shuffled within {rule.window} samples"
    by = "the calling thread"
    if loader.num_workers:
        by = f"{loader.num_workers} worker processes of torch, {loader.prefetch} batches ahead each"
    return [
        f"stream: {type(loader.dataset).__name__}, {order}, batches of {rule.batch_size}",
        f"  read by {by}",
    ]


def _of_plan(loader: UniversalLoader) -> list[str]:
    adapted, plan = loader.adapted, loader.loader.plan
    assert plan is not None
    lines = [
        f"dataset: {len(adapted)} samples, {len(loader)} batches; {adapted.how}",
        *_table(("setting", "value", "from", "because"), [*plan.rows(), *plan.byte_rows()]),
    ]
    if loader.num_skipped:
        reasons = (f"    sample {row}: {why}" for row, why in loader.skipped.items())
        lines += [f"  {loader.num_skipped} samples were left out so far:", *reasons]
    return lines + changes_told(loader)


def _measured(loader: AnyLoader) -> list[str]:
    passes = loader.passes
    if not passes:
        return ["  nothing measured yet: iterate over it"]
    figures = passes[-1]
    wait_ms, step_ms = figures["loader/wait_ms_mean"], figures["loader/step_ms"]
    stages = [
        f"{name.removeprefix('loader/').removesuffix('_ms_per_sample')} {amount:.3g} ms"
        for name, amount in figures.items()
        if name.endswith("_ms_per_sample")
    ]
    return [
        f"measured in the last of {len(passes)} passes:",
        f"  {figures['loader/samples_per_s']:,.0f} samples/s; waited "
        f"{figures['loader/wait_share']:.1%} of the time: {wait_ms:.3g} ms a batch, then "
        f"{step_ms:.3g} ms for what you did with it",
        f"  a sample took: {', '.join(stages) or 'unknown'}; first batch after "
        f"{figures['loader/first_batch_s'] * 1e3:.3g} ms; memory of all processes "
        f"{size_text(figures['loader/rss_mib'] * 2**20)}",
        f"advice: {advice(loader, figures)}",
    ]


def advice(loader: AnyLoader, figures: Mapping[str, float]) -> str:
    """Return one sentence on what to change, by the figures of a pass."""
    wait = figures["loader/wait_share"]
    num_batches = len(loader.monitor.stepped_s)
    if loader.monitor.elapsed_s < ENOUGH_S or num_batches < 10:
        return "the pass was too short to advise by."
    if wait < WORTH:
        return f"none: what you do with the batches takes {1 - wait:.1%} of the time."
    most = f"at most {1 / max(1 - wait, 0.01):.1f} times as fast"
    if isinstance(loader, StreamLoader):
        if loader.num_workers:
            return f"the stream is the limit; a faster one would make a pass {most}."
        return f"num_workers=1 reads ahead of you, which makes a pass {most}."
    assert isinstance(loader, UniversalLoader)
    return _advice_on_plan(loader, most)


def _advice_on_plan(loader: UniversalLoader, most: str) -> str:
    name, plan = loader.loader.name, loader.loader.plan
    assert plan is not None
    source = loader.adapted.source
    if isinstance(source, ReaderSource) and not source.is_kept:
        if name is Backend.inline:
            how = "threads" if getattr(source.dataset, "thread_safe", False) else "processes"
            return f"backend='{how}' reads ahead of you: {most}."
        return f"reading is the limit with {plan.num_workers.value} workers: {most} without it."
    if loader.adapted.look is None:
        return f"copying rows is the limit; a faster memory would make an epoch {most}."
    if loader.adapted.look.layout is not None and not loader.adapted.look.draws:
        keep = "chirpid.optimize_dataset(dataset) makes each sample once and keeps it"
        if name is Backend.inline:
            return f"{keep}; or backend='processes' makes them ahead of you: {most}."
        return f"{keep}: {most}."
    if name is Backend.inline:
        return f"backend='processes' makes batches ahead of you: {most}."
    return f"making samples is the limit with {plan.num_workers.value} workers: {most} without it."


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        cells = [f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)]
        lines.append("  " + "  ".join(cells).rstrip())
    return lines
