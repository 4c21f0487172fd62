"""The page of a sweep, for people: sweep.md, and sweep.html with the pictures in it.

The values of chosen trials are each the maximum of many, on the clips that chose it. The page says so above the retrained score, which
is the only estimate.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...errors import counted, some
from ...train.results.metrics import number
from ...train.results.pages.summary import percent
from .blocks import Block, html, markdown
from .importance import left_out, mean_importances, reasons, why_none
from .pictures import SHOWN_FOLDS, history_picture, importance_picture, parallel_picture
from .record import StudyRecord, Sweep
from .scales import number_range
from .table import DIFFERENCES, counts, score_items, settings_text

CHOICES = ("fold", "validation", "settings")
TRIALS = (
    *("study", "each model learns from", "objective over", "tested (never read)"),
    *("trials", "seconds", "per minute"),
)
FIXED = "fixed at "  # what a line of the space begins with, after the name of a setting that is not searched
INTERVALS = (
    "The interval of a difference decides: one is better where the interval does not contain 0. A p value comes from "
    "another test and may disagree."
)


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
        Block(kind="title", words=sweep.heading),
        *([Block(kind="warning", words=sweep.ended)] if sweep.ended else []),
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
    """Return how settings were chosen: by which clips, and by how many trials."""
    studies = sweep.studies_of(control=False) or sweep.studies
    learnt, chosen, tested = (
        _clips([getattr(study, name) for study in studies]) for name in ("learnt", "chosen_by", "tested")
    )
    mean = " (means over folds)" if len({(one.learnt, one.chosen_by, one.tested) for one in studies}) > 1 else ""
    first = (
        "Each outer fold has a study of its own, which read the fold's training half only. Each model of a trial learnt from "
        f"{learnt} of that half; {chosen} of it, each predicted by a model that had not learnt from it, gave the objective "
        f"({sweep.objective}). No trial read the {tested} of the test half{mean}."
    )
    model, control = (_ended(sweep.studies_of(control=control)) for control in (False, True))
    if sweep.studies_of(control=True):
        second = (
            "The control (pooled statistics, logistic regression) was searched on the same clips. "
            f"In each fold, {model} of the model and {control} of the control ended."
        )
    else:
        second = (
            f"In each fold, {model} ended; no control was searched, so this page cannot say what a baseline reaches "
            "with as many."
        )
    return f"{first} {second}"


def uneven(sweep: Sweep) -> str:
    """Return where model and control did not have as many trials; empty where they had."""
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
    more = f", and {counted(len(found) - SHOWN_FOLDS, 'more fold')}" if len(found) > SHOWN_FOLDS else ""
    return (
        f"Model and control did not have equally many trials without an error ({'; '.join(found[:SHOWN_FOLDS])}{more}). "
        "More trials are an advantage."
    )


def caution(sweep: Sweep) -> str:
    """Return what the values of chosen trials are not."""
    most = counted(max((study.complete for study in sweep.studies), default=0), "complete trial")
    return (
        f"The validation values of chosen trials are optimistic: each is the maximum of up to {most}, on the clips "
        f"that chose it. They say nothing about new clips, and are not results. Only the retrained score, on test "
        f"halves that no trial read, is an estimate."
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
            row += [percent(best.value), settings_text(best, study, sweep)]
    return row


def trials_row(study: StudyRecord) -> list[str]:
    """Return the counts of a study."""
    pace = study.per_minute
    return [
        study.name,
        *(counted(clips, "clip") for clips in (study.learnt, study.chosen_by, study.tested)),
        counts(study),
        f"{study.seconds:.1f}",
        f"{pace:.1f}" if pace is not None else "–",
    ]


def retrained_blocks(sweep: Sweep) -> list[Block]:
    """Return the scores of the retrained models, their intervals and their differences from the controls; or how to get them."""
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
    return [
        Block(kind="text", words=words),
        Block(kind="list", items=score_items(found)),
        *([Block(kind="warning", words=found["note"])] if found.get("note") else []),
        *([Block(kind="text", words=INTERVALS)] if any(found.get(key) for key in DIFFERENCES) else []),
        *table,
    ]


def importance_blocks(studies: Sequence[StudyRecord]) -> list[Block]:
    """Return the mean importances over the folds, which settings they leave out, and which studies have none."""
    found = mean_importances(studies)
    why = reasons(studies)
    missing = tuple(dict.fromkeys(key for study in studies if not why_none(study) for key in left_out(study)))
    omitted = [f"left out, because only some trials have them: {', '.join(missing)}"] if missing else []
    if found is None and len(why) <= 1:
        return [Block(kind="text", words=f"No study has importances{''.join(f': {reason}' for reason in why)}.")]
    items = [f"{some(names, SHOWN_FOLDS)}: {reason}" for reason, names in why.items()] + omitted
    notes = [Block(kind="list", items=items)] if items else []
    if found is None:
        return [Block(kind="text", words="No study has importances."), *notes]
    used = len(studies) - sum(map(len, why.values()))
    words = (
        f"How much a setting decides whether a trial is among the best of its study, by PED-ANOVA, as shares of 100 %"
        f"{f'; mean over {used} folds' if used > 1 else ''}. With few trials this is a hint, not a finding."
    )
    rows = [[key, f"{100 * share:.0f} %"] for key, share in found.items()]
    return [
        Block(kind="text", words=words),
        Block(kind="picture", draw=lambda: importance_picture(found)),
        Block(kind="table", header=("setting", "importance"), rows=rows),
        *notes,
    ]


def parallel_blocks(sweep: Sweep) -> list[Block]:
    """Return the trials of each study as parallel coordinates, collapsed; these are for sweep.html alone."""
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
    """Return how the search was made."""
    asked = f"{counted(sweep.trials, 'trial')} per study" if sweep.trials else "no number of trials"
    return [
        f"cache: {sweep.cache}",
        f"objective: {sweep.objective}; of equal values the lower validation loss, then the earlier trial",
        f"sampler: {sweep.sampler}; pruner: {sweep.pruner}; {asked} asked for",
        *map(_in_words, sweep.space),
        f"{sweep.seconds:.0f} s altogether",
    ]


def _in_words(line: str) -> str:
    """Say of a line of the space whether the setting was searched."""
    name, _, values = line.partition(": ")
    return f"fixed: {name}: {values.removeprefix(FIXED)}" if values.startswith(FIXED) else f"searched: {line}"


def _ended(studies: Sequence[StudyRecord]) -> str:
    return number_range([study.ended for study in studies] or [0], "trial")


def _clips(values: Sequence[int]) -> str:
    return counted(round(sum(values) / len(values)) if values else 0, "clip")
