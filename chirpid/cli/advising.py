"""From a finished training to advice: what it came to, what it cost, and what the budgets allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from chirpid import build
from chirpid.cli import auto
from chirpid.cli.auto_work import free_disk_bytes, limits_of, work_of
from chirpid.config.paths import cache_dir
from chirpid.config.schema import DatasetKind
from chirpid.data.modes import store_key, whole_cache
from chirpid.data.rows import note_on_lazy
from chirpid.errors import ChirpError
from chirpid.loading.achieved import Achieved, bound_share, costs_of
from chirpid.loading.advice import (
    LEAST_BATCHES,
    LEAST_S,
    TOO_SHORT,
    Advice,
    Ways,
    advise,
    at_most,
)
from chirpid.loading.tune import Costs, Limits, Setting, Work, is_off
from chirpid.loading.tune.memory import Found, recall
from chirpid.loading.tune.model import batch_seconds
from chirpid.types import Backend, Mode, Policy

if TYPE_CHECKING:
    from chirpid.cli.prepare import Prepared
    from chirpid.engine.rule import FoldOutcome

_FREE = 0.9
"""Share of the free memory that a budget may be raised to."""


def results(
    prepared: Prepared, outcomes: Sequence[FoldOutcome], *, whole: bool
) -> dict[str, dict[str, Any]]:
    """Return {"advice": ...} for results.json.

    Args:
        whole: the run was not stopped and resumed.
    """
    try:
        advice, share = _of_run(prepared, outcomes, whole=whole)
    except Exception as error:  # noqa: BLE001 - hours of training are not lost for want of advice
        why = (str(error).splitlines() or [""])[0]
        why = f"{type(error).__name__}: {why}" if not isinstance(error, ChirpError) else why
        advice, share = Advice(f"Nothing can be said of this run: {why}", "failed"), None
    return {"advice": {**advice.as_json(), "bound_share": share}}


def _of_run(
    prepared: Prepared, outcomes: Sequence[FoldOutcome], *, whole: bool
) -> tuple[Advice, float | None]:
    figures, work = _mean(outcomes), work_now(prepared)
    if figures is None:
        return TOO_SHORT, None
    if _is_short(figures, outcomes, work):
        advice, share = TOO_SHORT, None
    else:
        achieved = Achieved.of(figures, work.batch_size, epoch_samples=work.train_samples)
        advice, share = advice_of(prepared, achieved, work, found=_recalled(prepared))
    if note := _far_apart(prepared, figures["loader/samples_per_s"], whole=whole):
        advice = replace(advice, sentence=f"{advice.sentence} {note}")
    return advice, share


def line(told: Mapping[str, Any]) -> str | None:
    """Return what the console says of results.json; None where there is nothing to say."""
    advice = told.get("advice")
    if not isinstance(advice, dict) or advice["sentence"] == TOO_SHORT.sentence:
        return None
    return f"advice: {advice['sentence']}"


def tags(told: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that the run gets."""
    said = line(told)
    return {} if said is None else {"chirpid.advice": told["advice"]["sentence"]}


def metrics(told: Mapping[str, Any]) -> dict[str, float]:
    """Return the figure of the run that the tracker shows beside the loader's."""
    share = told.get("advice", {}).get("bound_share")
    return {} if share is None else {"loader/bound_share": float(share)}


def setting_of(prepared: Prepared) -> Setting:
    """Return the setting that was planned."""
    plan = prepared.plan
    return Setting(prepared.config.mode.name, plan.backend.value, plan.num_workers.value,
                   plan.prefetch.value)  # fmt: skip


def work_now(prepared: Prepared) -> Work:
    """Return the work, with the cache as it is now."""
    config = prepared.config
    options = build.store_options(config, prepared.machine, prepared.plan)
    key = store_key(prepared.maker, build.frontend_settings(config))
    return work_of(prepared, cached_already=whole_cache(prepared.maker, key, options) is not None)


def advice_of(
    prepared: Prepared, achieved: Achieved, work: Work, *, found: Found | None
) -> tuple[Advice, float | None]:
    """Return advice, and the bound of the run over what it took, where it can be had.

    Args:
        found: by a probe, if there was one. It counts as long as it explains the run.
    """
    setting = setting_of(prepared)
    ways = ways_of(prepared, setting, work)
    own = costs_of(achieved, setting, work, model_threads=ways.model_threads)
    costs, trials = own, None
    if found is not None and _explains(found.costs, setting, achieved, work):
        costs, trials = found.costs, found.trials
    advice = advise(costs, setting, achieved, work, ways, trials)
    # What a step takes alone is known from a probe, or where nothing worked beside it.
    is_alone = setting.backend in (Backend.inline, Backend.device)
    known = costs is not own or is_alone
    return advice, round(bound_share(costs, achieved, work), 4) if known else None


def ways_of(prepared: Prepared, setting: Setting, work: Work) -> Ways:
    """Return what may be advised: any mode, within the budgets, and beyond them."""
    config, machine = prepared.config, prepared.machine
    asked = config.loader
    free = replace(asked, backend=Backend.auto, num_workers=None, prefetch=None)
    modes = _modes(prepared, setting)
    limits = limits_of(replace(config, loader=free), machine, prepared.device, modes)
    fixed = {
        "loader.backend": asked.backend is not Backend.auto,
        "loader.num_workers": asked.num_workers is not None,
        "loader.prefetch": asked.prefetch is not None,
    }
    row_bytes = prepared.maker.spec.batch_row_bytes
    return Ways(
        limits=limits,
        room=_room(prepared, limits),
        fixed=[name for name, is_fixed in fixed.items() if is_fixed],
        picks_itself=asked.policy is Policy.auto,
        cache_gib=config.mode.cache_gib,
        eval_batch_bytes=(asked.eval_batch_size or asked.batch_size) * row_bytes,
        model_threads=torch.get_num_threads() if prepared.device.type == "cpu" else None,
        decoding=_decoding(prepared, setting),
    )


def _modes(prepared: Prepared, setting: Setting) -> tuple[Mode, ...]:
    if prepared.config.dataset.kind is DatasetKind.shards:
        return (setting.mode,)  # rows lie in shards: other modes would keep them a second time
    modes = (Mode.cached, Mode.eager, Mode.lazy)
    return modes if setting.mode in modes else (*modes, setting.mode)


def _room(prepared: Prepared, limits: Limits) -> Limits:
    disk_bytes = int(_FREE * free_disk_bytes(cache_dir(prepared.config.paths)))
    ram_bytes = int(_FREE * prepared.machine.free_bytes)
    return at_most(limits, ram_bytes=ram_bytes, disk_bytes=disk_bytes)


def _decoding(prepared: Prepared, setting: Setting) -> str:
    if setting.mode is Mode.lazy and note_on_lazy(prepared.segments):
        return "decoding MP3 from its start up to each window"
    return "decoding"


def _recalled(prepared: Prepared) -> Found | None:
    if prepared.tuned is not None:
        return prepared.tuned.outcome.found
    return recall(*auto.where_kept(prepared))


def _explains(costs: Costs, setting: Setting, achieved: Achieved, work: Work) -> bool:
    """Return whether a probe's costs come to what was achieved."""
    if costs.batch_size != work.batch_size:
        return False
    if setting.mode is Mode.lazy and not costs.stage_s:
        return False  # of a set whose rows need not be made
    predicted_s = batch_seconds(costs, setting, work)
    return not is_off(predicted_s, achieved.batch_s)


def _far_apart(prepared: Prepared, achieved: float, *, whole: bool) -> str | None:
    if prepared.tuned is None:
        return None
    predicted = prepared.tuned.pick.prediction.samples_per_s
    if not is_off(predicted, achieved):
        return None
    again = " The next run probes again." if whole else ""
    return f"loader=auto had predicted {predicted:.0f} samples/s, it was {achieved:.0f}.{again}"


def _is_short(figures: Mapping[str, float], outcomes: Sequence[FoldOutcome], work: Work) -> bool:
    epochs = sum(len(one.history) for one in outcomes)
    num_samples = epochs * work.train_samples
    seconds = num_samples / max(figures["loader/samples_per_s"], 1e-9)
    return num_samples < LEAST_BATCHES * work.batch_size or seconds < LEAST_S


def _mean(outcomes: Sequence[FoldOutcome]) -> dict[str, float] | None:
    """Return the mean of the folds' figures; None if there are none."""
    known = [one.loader for one in outcomes if "loader/samples_per_s" in one.loader]
    if not known:
        return None
    names = {name for one in known for name in one}
    return {name: float(np.mean([one[name] for one in known if name in one])) for name in names}
