"""From a finished training to advice: what it came to, what it cost, and what the budgets allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

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
    advise,
)
from chirpid.loading.monitor import mean_figures
from chirpid.loading.stages import UNKNOWN
from chirpid.loading.tune import Costs, Limits, Setting, Work, is_off
from chirpid.loading.tune.choose import TrialKey, trial_key
from chirpid.loading.tune.memory import Found, recall
from chirpid.loading.tune.model import Measured, batch_seconds
from chirpid.loading.ways import Ways, at_most
from chirpid.types import Backend, Mode, Policy

if TYPE_CHECKING:
    from chirpid.cli.course import Course
    from chirpid.cli.prepare import Prepared
    from chirpid.engine.rule import FoldOutcome

_FREE = 0.9
"""Share of the free memory that a budget may be raised to."""
_MIXED = Advice("Loading was changed within each epoch: no figures are of one plan.", UNKNOWN)
_NOT_SINCE = Advice("No epoch was trained whole since this run was resumed.", UNKNOWN)


def results(
    prepared: Prepared,
    outcomes: Sequence[FoldOutcome],
    *,
    whole: bool,
    course: Course | None = None,
) -> dict[str, dict[str, Any]]:
    """Return {"advice": ...} for results.json.

    Args:
        whole: the run was not stopped and resumed.
        course: the plans that it went under; None if that was the prepared one.
    """
    try:
        advice, share = _of_run(prepared, outcomes, whole=whole, course=course)
    except Exception as error:  # noqa: BLE001 - hours of training are not lost for want of advice
        why = (str(error).splitlines() or [""])[0]
        why = f"{type(error).__name__}: {why}" if not isinstance(error, ChirpError) else why
        advice, share = Advice(f"Nothing can be said of this run: {why}", "failed"), None
    return {"advice": {**advice.as_json(), "bound_share": share}}


def _of_run(
    prepared: Prepared, outcomes: Sequence[FoldOutcome], *, whole: bool, course: Course | None
) -> tuple[Advice, float | None]:
    figures = _mean(outcomes)
    if figures is None:
        return TOO_SHORT, None
    # Of the epochs before a stop nobody knows any more which plan they went under.
    if course is not None and (course.has_changed or not whole):
        advice, share = _of_last_plan(prepared, course)
    else:
        num_epochs = sum(len(one.history) for one in outcomes)
        advice, share = _of_epochs(prepared, figures, num_epochs, course)
    if note := _far_apart(prepared, figures["loader/samples_per_s"], whole=whole):
        advice = replace(advice, sentence=f"{advice.sentence} {note}")
    return advice, share


def _of_last_plan(prepared: Prepared, course: Course) -> tuple[Advice, float | None]:
    """Return what is said of the epochs under the plan that the run ended with."""
    if (last := course.last) is None:
        return _MIXED if course.has_changed else _NOT_SINCE, None
    num_epochs = course.num_epochs(last)
    advice, share = _of_epochs(prepared, course.figures(last), num_epochs, course)
    epochs = "the epoch" if num_epochs == 1 else f"the {num_epochs} epochs"
    how = "to which loading had been changed" if course.has_changed else "since it was resumed"
    of_what = f"This is of {epochs} under {last.text}, {how}."
    return replace(advice, sentence=f"{advice.sentence} {of_what}"), share


def _of_epochs(
    prepared: Prepared, figures: Mapping[str, float], num_epochs: int, course: Course | None
) -> tuple[Advice, float | None]:
    work = work_now(prepared)
    if _is_short(figures, num_epochs, work):
        return TOO_SHORT, None
    achieved = Achieved.of(figures, work.batch_size, epoch_samples=work.train_samples)
    return advice_of(prepared, achieved, work, found=_recalled(prepared), course=course)


def line(told: Mapping[str, Any]) -> str | None:
    """Return what the console says of results.json; None where there is nothing to say."""
    advice = told.get("advice")
    if not isinstance(advice, dict) or advice["sentence"] == TOO_SHORT.sentence:
        return None
    return f"advice: {advice['sentence']}"


def tags(told: Mapping[str, Any]) -> dict[str, str]:
    """Return the tags that the run gets: MLflow shows the second whole, as its description."""
    if line(told) is None:
        return {}
    sentence = told["advice"]["sentence"]
    return {"chirpid.advice": sentence, "mlflow.note.content": sentence}


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
    prepared: Prepared,
    achieved: Achieved,
    work: Work,
    *,
    found: Found | None,
    course: Course | None = None,
    made: Setting | None = None,
) -> tuple[Advice, float | None]:
    """Return advice, and the bound of the run over what it took, where it can be had.

    Args:
        found: by a probe, if there was one. It counts as long as it explains the run.
        course: the plans that the run went under: `achieved` is of the last.
        made: what `achieved` is of, if it is not what was planned.
    """
    setting = made or (course.last if course else None) or setting_of(prepared)
    ways = ways_of(prepared, setting, work)
    if course is not None:
        ways = ways_after(course, setting, ways, began=setting_of(prepared))
    own = costs_of(achieved, setting, work, model_threads=ways.model_threads)
    costs, trials = own, None
    if found is not None and _explains(found.costs, setting, achieved, work):
        costs, trials = found.costs, found.trials
    known = {**(trials or {}), **(_trials(course, setting, work) if course else {})}
    advice = advise(costs, setting, achieved, work, ways, known)
    # What a step takes alone is known from a probe, or where nothing worked beside it.
    is_alone = setting.backend in (Backend.inline, Backend.device)
    is_known = costs is not own or is_alone
    return advice, round(bound_share(costs, achieved, work), 4) if is_known else None


def ways_after(course: Course, setting: Setting, ways: Ways, *, began: Setting) -> Ways:
    """Return the ways that are left after all that the run has been through."""
    left = {*course.settings, began} - {setting}
    if (most := course.ram_bytes) is None:
        return replace(ways, left=left)
    # Memory ran short: what would take more of it than was left is no advice.
    limits = replace(ways.limits, ram_bytes=min(most, ways.limits.ram_bytes))
    room = ways.room and replace(ways.room, ram_bytes=limits.ram_bytes)
    return replace(ways, limits=limits, room=room, left=left)


def _trials(course: Course, setting: Setting, work: Work) -> dict[TrialKey, Measured]:
    """Return what epochs under other settings came to."""
    found = {}
    for other in {one for one, _ in course.epochs} - {setting}:
        figures = course.figures(other)
        one = Achieved.of(figures, work.batch_size)
        found[trial_key(other)] = Measured(one.batch_s, one.wait_share)
    return found


def _asked(prepared: Prepared) -> Setting:
    """Return what the command says, and of the rest what was planned."""
    asked, planned = prepared.config.loader, setting_of(prepared)
    return Setting(
        planned.mode,
        planned.backend if asked.backend is Backend.auto else asked.backend,
        planned.num_workers if asked.num_workers is None else asked.num_workers,
        planned.prefetch if asked.prefetch is None else asked.prefetch,
    )


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
    return Ways(
        limits=limits,
        room=_room(prepared, limits),
        fixed=[name for name, is_fixed in fixed.items() if is_fixed],
        asked=_asked(prepared),
        picks_itself=asked.policy is Policy.auto,
        is_for_device=asked.policy is Policy.device,
        cache_gib=config.mode.cache_gib,
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


def _is_short(figures: Mapping[str, float], num_epochs: int, work: Work) -> bool:
    num_samples = num_epochs * work.train_samples
    seconds = num_samples / max(figures["loader/samples_per_s"], 1e-9)
    return num_samples < LEAST_BATCHES * work.batch_size or seconds < LEAST_S


def _mean(outcomes: Sequence[FoldOutcome]) -> dict[str, float] | None:
    """Return the mean of the folds' figures; None if there are none."""
    known = [one.loader for one in outcomes if "loader/samples_per_s" in one.loader]
    if not known:
        return None
    return mean_figures(known)
