"""The page of a sweep, for people: sweep.md, and sweep.html with the pictures in it.

The values of chosen trials are each the maximum of many, on the clips that chose it. The page says so above the retrained score, which
is the only estimate.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...train.results.metrics import number
from ...train.results.pages.summary import interval, percent
from .blocks import Block, html, markdown
from .importance import left_out, mean_importances, why_none
from .pictures import SHOWN_FOLDS, history_picture, importance_picture, parallel_picture
from .record import StudyRecord, Sweep
from .table import counts, settings_text

CHOICES = ("fold", "validation", "settings")
TRIALS = ("study", "learnt from", "chosen by", "tested (never read)", "trials", "seconds", "per minute")


def page_markdown(sweep: Sweep) -> str:
    """Return sweep.md."""
    return markdown(
        [*blocks(sweep), Block(kind="text", words="The pictures are in sweep.html, every trial in trials.csv.")]
    )


def page_html(sweep: Sweep) -> str:
    """Return sweep.html, one file with the pictures in it."""
    return html(blocks(sweep))


def blocks(sweep: Sweep) -> list[Block]:
    """Return what both pages say."""
    controls = sweep.studies_of(control=True)
    unequal = uneven(sweep)
    header = [*CHOICES, *(("control: validation", "control: settings") if controls else ())]
    found = [
        Block(kind="title", words=f"Sweep of {' and '.join(sweep.models) or 'no model'} on {sweep.cache}"),
        Block(kind="text", words=sweep.heading),
        Block(kind="text", words=selection(sweep)),
        *([Block(kind="warning", words=unequal)] if unequal else []),
        Block(kind="heading", words="Retrained score" if sweep.retrained else "No score yet"),
        *retrained_blocks(sweep),
        Block(kind="heading", words="Chosen settings"),
        Block(kind="table", header=header, rows=[choice_row(sweep, fold) for fold in sweep.folds]),
        Block(kind="warning", words=caution(sweep)),
    ]
    if sweep.notes:
        found += [Block(kind="heading", words="Notes"), Block(kind="list", items=sweep.notes)]
    found += [
        Block(kind="heading", words="Trials"),
        Block(kind="picture", draw=lambda: history_picture(sweep)),
        Block(kind="table", header=TRIALS, rows=[trials_row(study) for study in sweep.studies]),
        *parallel_blocks(sweep),
        Block(kind="heading", words="Importance of settings"),
        *importance_blocks(sweep.studies_of(control=False)),
        Block(kind="heading", words="How"),
        Block(kind="list", items=how(sweep)),
    ]
    return found


def selection(sweep: Sweep) -> str:
    """Say in two sentences how settings were chosen."""
    studies = sweep.studies_of(control=False) or sweep.studies
    learnt, chosen, tested = (
        _mean([getattr(study, name) for study in studies]) for name in ("learnt", "chosen_by", "tested")
    )
    mean = " (means over folds)" if len({(one.learnt, one.chosen_by, one.tested) for one in studies}) > 1 else ""
    first = (
        f"Each outer fold has a study of its own, which read the fold's training half only: trials learnt from {learnt} of its "
        f"clips, the other {chosen} gave the objective ({sweep.objective}), and none read the {tested} clips of the test half{mean}."
    )
    if sweep.studies_of(control=True):
        second = (
            "The control (pooled statistics, logistic regression) was searched on the same clips, "
            f"{sweep.trials} trials per fold for each of the two."
        )
    else:
        second = (
            f"A study had {sweep.trials} trials; no control was searched, so this page cannot say what a baseline reaches "
            "with as many."
        )
    return f"{first} {second}"


def uneven(sweep: Sweep) -> str:
    """Say where model and control did not have as many trials; empty where they had."""
    found = []
    for fold in sweep.folds:
        model, control = sweep.study(fold), sweep.study(fold, control=True)
        if model is None or control is None:
            continue
        ended = [study.complete + study.pruned for study in (model, control)]
        if ended[0] != ended[1]:
            found.append(f"{fold}: {ended[0]} and {ended[1]}")
    if not found:
        return ""
    more = f", and {len(found) - SHOWN_FOLDS} more folds" if len(found) > SHOWN_FOLDS else ""
    return (
        f"Model and control did not have equally many trials without an error ({'; '.join(found[:SHOWN_FOLDS])}{more}). "
        "More trials are an advantage."
    )


def caution(sweep: Sweep) -> str:
    """Say what the values of chosen trials are not."""
    most = max((study.complete for study in sweep.studies), default=0)
    return (
        f"The validation values of chosen trials are optimistic: each is the maximum of up to {most} complete trials, on the clips that "
        "chose it. They say nothing about new clips, and are no result. Only the retrained score, on test halves that no trial read, is "
        "an estimate."
    )


def choice_row(sweep: Sweep, fold: str) -> list[str]:
    """Return what was chosen for a fold, for the model and for the control."""
    row = [fold]
    for control in (False, True) if sweep.studies_of(control=True) else (False,):
        study = sweep.study(fold, control=control)
        best = study.best if study is not None else None
        if study is None or best is None:
            row += ["–", "no complete trial" if study is not None else "no study"]
        else:
            row += [percent(best.value), settings_text(best, study)]
    return row


def trials_row(study: StudyRecord) -> list[str]:
    """Return the counts of a study."""
    pace = study.per_minute
    return [
        study.name,
        *(f"{clips} clips" for clips in (study.learnt, study.chosen_by, study.tested)),
        counts(study),
        f"{study.seconds:.1f}",
        f"{pace:.1f}" if pace is not None else "–",
    ]


def retrained_blocks(sweep: Sweep) -> list[Block]:
    """Return the scores of the retrained models, their intervals and their difference from the control; or how to get them."""
    found = sweep.retrained
    if not found:
        words = (
            "The test halves were not read. est sweep --retrain-best trains each fold's choice again on its whole training half, with "
            "several seeds, and scores it once."
        )
        return [Block(kind="text", words=words)]
    seeds = found.get("seeds") or []
    over = f", means of seeds {', '.join(map(str, seeds))}" if len(seeds) > 1 else ""
    words = f"Each fold's choice was trained again on the fold's whole training half, and scored once on its test half{over}."
    items = [
        f"{name}: {score_text(found[key])}"
        for key, name in (("score", "model"), ("control", "control"))
        if found.get(key)
    ]
    items += [found["difference"]] if found.get("difference") else []
    rows = [
        [
            fold,
            percent(one.get("war")),
            f"{number(one['right'])} / {one['total']}" if one.get("right") is not None else "–",
            percent(one.get("uar")),
        ]
        for fold, one in (found.get("folds") or {}).items()
    ]
    table = [Block(kind="table", header=("fold", "WAR", "right / clips", "UAR"), rows=rows)] if rows else []
    return [Block(kind="text", words=words), Block(kind="list", items=items), *table]


def score_text(score: Mapping[str, Any]) -> str:
    """Write WAR and UAR with their intervals; a single interval is that of the WAR."""
    ends = score.get("interval") or {}
    by_metric = ends if isinstance(ends, Mapping) else {"war": ends}
    texts = []
    for metric in ("war", "uar"):
        limits = by_metric.get(metric)
        between = f" (95 % {interval((limits[0], limits[1]))})" if limits and None not in limits else ""
        texts.append(f"{metric.upper()} {percent(score.get(metric))}{between}")
    return ", ".join(texts)


def importance_blocks(studies: Sequence[StudyRecord]) -> list[Block]:
    """Return the mean importances over the folds, which settings they leave out, and which studies have none."""
    found = mean_importances(studies)
    reasons = {study.name: why for study in studies if (why := why_none(study))}
    items = [f"{name}: {why}" for name, why in list(reasons.items())[:SHOWN_FOLDS]]
    if len(reasons) > SHOWN_FOLDS:
        items.append(f"and {len(reasons) - SHOWN_FOLDS} more studies without importances")
    missing = tuple(dict.fromkeys(key for study in studies if study.name not in reasons for key in left_out(study)))
    if missing:
        items.append(f"left out, because only some trials have them: {', '.join(missing)}")
    notes = [Block(kind="list", items=items)] if items else []
    if found is None:
        return [Block(kind="text", words="No study has importances."), *notes]
    used = len(studies) - len(reasons)
    words = (
        f"How much a setting decides whether a trial is among the best of its study, by PED-ANOVA, as shares of 100 %"
        f"{f'; mean over {used} folds' if used > 1 else ''}. With few trials this is a hint, no finding."
    )
    rows = [[key, f"{100 * share:.0f} %"] for key, share in found.items()]
    return [
        Block(kind="text", words=words),
        Block(kind="picture", draw=lambda: importance_picture(found)),
        Block(kind="table", header=("setting", "importance"), rows=rows),
        *notes,
    ]


def parallel_blocks(sweep: Sweep) -> list[Block]:
    """Return the trials of each study as parallel coordinates, closed until somebody opens them; these are for sweep.html alone."""
    folds = sweep.folds[:SHOWN_FOLDS]
    return [
        Block(
            kind="picture",
            words=f"Settings and objective of {study.name}",
            draw=lambda study=study: parallel_picture(study),
        )
        for study in sweep.studies
        if study.fold in folds
    ]


def how(sweep: Sweep) -> list[str]:
    """Say how the search was made."""
    return [
        f"objective: {sweep.objective}; of equal values the lower validation loss, then the earlier trial",
        f"sampler: {sweep.sampler}; pruner: {sweep.pruner}; {sweep.trials} trials per study",
        *(f"searched: {one}" for one in sweep.space),
        f"{sweep.seconds:.0f} s altogether",
    ]


def _mean(values: Sequence[int]) -> str:
    return f"{sum(values) / len(values):.0f}" if values else "0"
