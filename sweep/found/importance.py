"""How much each setting decides whether a trial is among the best, by PED-ANOVA as Optuna computes it.

The study is built again in memory from the records, so that importances need neither its storage nor scikit-learn. What a setting's
distribution was is read off its values (scales.py). Settings that only some trials have are left out: their importance would be that of
the setting which switches them on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ...packages import what_is_wrong
from .record import StudyRecord
from .scales import Scale, number_range, shown, varied

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LEAST = 10  # complete trials
BEST, BEST_SHARE = (
    5,
    0.1,
)  # what a setting is important for: being one of the best five, or of the best tenth where that is more


def importances(study: StudyRecord) -> dict[str, float] | None:
    """Return each setting's share of the importance, largest first; None where `why_none` has a reason."""
    if why_none(study):
        return None
    import optuna  # here: a page can be read, and most of it written, without an optimiser

    keys = compared(study)
    scales = {key: Scale.of([record.values[key] for record in study.scored]) for key in keys}
    kinds = {key: _distribution(scale) for key, scale in scales.items()}
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # a new study in memory is no news
    try:
        rebuilt = optuna.create_study(direction="maximize", storage=None)
        rebuilt.add_trials(
            [
                optuna.trial.create_trial(
                    value=record.value,
                    params={key: _value(scales[key], record.values[key]) for key in keys},
                    distributions=kinds,
                )
                for record in study.scored
            ]
        )
        evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=_best_share(study))
        found = optuna.importance.get_param_importances(rebuilt, evaluator=evaluator)
    finally:
        optuna.logging.set_verbosity(before)
    return dict(sorted(((key, float(share)) for key, share in found.items()), key=lambda one: -one[1]))


def mean_importances(studies: Sequence[StudyRecord]) -> dict[str, float] | None:
    """Return the mean over the studies that have importances, largest first, as shares again; None where none has."""
    by_key: dict[str, list[float]] = {}
    for study in studies:
        for key, share in (importances(study) or {}).items():
            by_key.setdefault(key, []).append(share)
    means = {key: sum(shares) / len(shares) for key, shares in by_key.items()}
    total = sum(means.values())
    if not total:
        return None
    return dict(sorted(((key, mean / total) for key, mean in means.items()), key=lambda one: -one[1]))


def why_none(study: StudyRecord) -> str:
    """Return why a study has no importances; empty where it has."""
    scored = study.scored
    if len(scored) < LEAST:
        return too_few([study])
    if len({record.value for record in scored}) == 1:
        return "all complete trials have the same value, so no setting can be said to matter"
    if not compared(study):
        return "no setting that all complete trials have differs between them"
    if wrong := what_is_wrong("optuna"):
        return f"importances are computed by Optuna; {wrong[0]}"
    return ""


def too_few(studies: Sequence[StudyRecord]) -> str:
    """Say that none of the studies has the complete trials that importances need."""
    return f"{number_range([len(study.scored) for study in studies], 'complete trial')}, and importances need {LEAST}"


def reasons(studies: Sequence[StudyRecord]) -> dict[str, tuple[str, ...]]:
    """Return why studies have no importances, each reason once, with the names of the studies it holds for."""
    few = [study for study in studies if len(study.scored) < LEAST]
    found = {too_few(few): tuple(study.name for study in few)} if few else {}
    for study in studies:
        if study not in few and (why := why_none(study)):
            found[why] = (*found.get(why, ()), study.name)
    return found


def compared(study: StudyRecord) -> tuple[str, ...]:
    """Name the settings that all complete trials have and that differ between them."""
    settings = [record.values for record in study.scored]
    return tuple(key for key in varied(settings) if all(key in one for one in settings))


def left_out(study: StudyRecord) -> tuple[str, ...]:
    """Name the settings that differ, but that only some complete trials have."""
    return tuple(key for key in varied([record.values for record in study.scored]) if key not in compared(study))


def _best_share(study: StudyRecord) -> float:
    """Return the share of the trials that count as best: never all, however many have the same value."""
    values = sorted(record.value or 0.0 for record in study.scored)
    number = len(values)
    wanted = max(BEST, round(BEST_SHARE * number))
    if values[-wanted] == values[0]:  # the evaluator counts all of an equal value in
        wanted = sum(value > values[0] for value in values)
    return (wanted - 0.5) / number  # the evaluator rounds up


def _distribution(scale: Scale) -> BaseDistribution:
    """Return what the values may have been drawn from."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if scale.kind == "choice":
        return CategoricalDistribution(scale.choices)
    log = scale.kind == "log"
    if scale.whole:
        return IntDistribution(int(scale.low), int(scale.high), log=log)
    return FloatDistribution(scale.low, scale.high, log=log)


def _value(scale: Scale, value: Any) -> Any:
    if scale.kind == "choice":
        return shown(value)
    return int(value) if scale.whole else float(value)
