"""What a run says before its first step: which model on which features, where it computes, how clips are divided, who is left out."""

from __future__ import annotations

import numpy as np

from ..errors import counted, some
from .config.config import PRESETS, SIZES, TrainConfig
from .config.configfile import to_flat
from .data.clipset import warn_of_rates
from .data.feature_arrays import Arrays, views_of
from .data.sampling import sampler_of
from .folds.leaks import describe_leaks
from .folds.published import convention, named
from .loop.watch import TrainingWatch
from .models.contract import CROPS
from .models.registry import describe_model
from .preparation import Prepared

FEW_CLIPS, FEW_PEOPLE = 20, 3  # to choose an epoch by
LARGE = 1_000_000  # parameters from which on a smaller model is worth a trial
MANY_CLIPS = 1000  # to learn from: below, a model of the paper's size depends on its recipe
NOT_END_TO_END = "the published training is end to end"
HEADINGS = {
    "none": "{title} on a frozen backbone",
    "layer4": "the last stage of the backbone learns with {title}; the paper's learns as a whole",
    "all": "the backbone learns with {title}",
}


def heading(config: TrainConfig) -> str:
    """Return the line above every score of a run."""
    model = config.model
    title = f"{model.title} (a reconstruction)" if model.architecture == "reconstruction" else model.title
    if model.reads == CROPS:
        return f"{title} learns from crops, end to end"
    said = HEADINGS[config.finetune.learns].format(title=title)
    if model.last_stage and not config.finetune.on:
        said += ", whose last stage learns"
    return f"{said}: {NOT_END_TO_END}" if model.published_training == "end to end" and not config.finetune.on else said


def announce(ready: Prepared, config: TrainConfig, where: str, watch: TrainingWatch) -> None:
    """Tell the user what there is before time is spent on it; `where` is the line about the machine."""
    data, plan = ready.data, ready.plan
    watch.say(heading(config))
    watch.say(data.clips.residency)
    if ready.cache.url:
        watch.say(f"{ready.cache.url}, read through its mirror {ready.cache.path}")
    if (frames := ready.cache.recipes.frames).flow:
        watch.say(f"rows are of optical flow: {frames.sampling}")
    watch.say(where)
    line, warning = sampler_of(config.sampling, config.model.shown).describe(data.clips.count.cpu())
    watch.say(line)
    if warning:
        watch.warn(warning)
    if note := of_another_modality(ready, config):
        watch.say(note)
    asked = config.protocol.kind
    watch.say(
        f"protocol: {named(asked, plan.kind)}, {counted(len(plan.folds), 'fold')}, independence: {plan.independence}"
    )
    if known := convention(asked):
        watch.say(known)
    for note in plan.notes:
        watch.warn(note)
    if ready.votes is not None:
        watch.say(_describe_votes(ready))
    loop = config.loop
    if loop.rise < loop.warmup:
        watch.say(f"warm-up: {loop.rise} of {loop.epochs} epochs, and not {loop.warmup}: no more than half of them")
    if hint := suggest_sweep(ready, config):
        watch.say(hint)
    if warning := warn_of_few(ready):
        watch.warn(warning)
    for fold in plan.folds:
        train, test = (data.clips.fps[data.place[rows][data.place[rows] >= 0]] for rows in (fold.train, fold.test))
        if warning := warn_of_rates(train, test):
            watch.warn(warning)
            break
    blank = np.unique(np.concatenate([fold.train[~data.visible(fold.train)] for fold in plan.folds]))
    if len(blank):
        watch.say(
            f"left out, because no face is visible in {counted(len(blank), 'clip')} to learn from: {some(data.table.ids[blank])}"
        )
    hidden = [str(data.table.ids[row]) for fold in plan.folds for row in fold.test[~data.visible(fold.test)]]
    if hidden:
        watch.warn(
            f"counted as wrong: {counted(len(hidden), 'clip')} of the test halves, without a face or not extracted: {some(hidden)}"
        )
    for line in ready.start.report() if ready.start is not None else ():
        watch.say(line)
    for line in describe_leaks(ready.leaks):
        watch.warn(line)
    for line in _describe_reads(ready, config):
        watch.say(line)


def of_another_modality(ready: Prepared, config: TrainConfig) -> str | None:
    """Say so where the published system reads features of something else than the cache's."""
    published = config.model.published_modality
    found = [which.plain for which in ready.fold_data.reads.values() if isinstance(which, Arrays)]
    if not published or not found or ready.cache.recipes.features[found[0]].modality == published:
        return None
    made = ready.cache.recipes.features[found[0]].modality or "the crops themselves"
    return (
        f"The published {config.model.title} reads features of {published}; {found[0]} of {ready.cache.path} is of {made} "
        f"(est extract … --modality {published} makes those)"
    )


def _describe_votes(ready: Prepared) -> str:
    """Say for how many clips there are votes."""
    assert ready.votes is not None
    rows = np.unique(np.concatenate([ready.data.learnt(fold.train) for fold in ready.plan.folds]))
    voted = sum(name in ready.votes.line for name in ready.data.table.ids[rows].tolist())
    rest = "; the others are learnt by their label" if voted < len(rows) else ""
    number = ready.votes.foreign
    is_of = "1 line is of a clip that is" if number == 1 else f"{number} lines are of clips that are"
    foreign = f"; {is_of} not in the cache" if number else ""
    return f"votes for {voted} of {counted(len(rows), 'clip')} to learn from{rest}{foreign}; scores go by the labels"


def warn_of_few(ready: Prepared) -> str | None:
    """Say so where an epoch is chosen by clips of which chance decides."""
    table, found = ready.data.table, []
    for fold in ready.plan.folds:
        clips, people = len(fold.val), len(set(table.subject[fold.val].tolist()) - {""})
        if clips and (clips < FEW_CLIPS or 0 < people < FEW_PEOPLE):
            found.append(
                f"{fold.name} by {counted(clips, 'clip')}"
                + (f" of {people} {'person' if people == 1 else 'people'}" if people else "")
            )
    if not found:
        return None
    return (
        f"The epoch is chosen by few clips ({some(found)}): with fewer than {FEW_CLIPS}, or {FEW_PEOPLE} people, the "
        f"choice is mostly chance. --select last does not choose; a larger protocol.val_share (--set) takes more."
    )


def suggest_sweep(ready: Prepared, config: TrainConfig) -> str | None:
    """Suggest `est sweep` where few clips are learnt from; not if the sizes of a small model were chosen."""
    if config.finetune.on:
        return None
    fold = min(ready.plan.folds, key=lambda fold: len(fold.train))
    if len(fold.train) >= MANY_CLIPS:
        return None
    clips = ready.data.clips
    size = describe_model(config.model, clips.width, len(ready.data.labels), clips.maps).parameters
    chosen = config.model != type(config.model)() or PRESETS[SIZES].items() <= to_flat(config).items()
    if size < LARGE and chosen:
        return None
    others = "smaller models and other recipes" if size >= LARGE else "other recipes"
    return (
        f"{fold.name} learns from {counted(len(fold.train), 'clip')}; with fewer than about {MANY_CLIPS:,}, {others} often "
        f"score higher: est sweep --cache {ready.cache.path} compares them"
    )


def _describe_reads(ready: Prepared, config: TrainConfig) -> list[str]:
    """Return which arrays are read where it is not one of the name that was asked for, and which others there are."""
    cache = ready.cache
    found = [which for which in ready.fold_data.reads.values() if isinstance(which, Arrays)]
    lines = []
    if plain := list(dict.fromkeys(which.plain for which in found if which.plain != config.feature)):
        lines.append(f"each fold reads features that were tuned for it: {some(plain)}")
    views = max((len(views_of(cache, which.plain)) for which in found), default=0)
    number = f"{views} {'view' if views == 1 else 'views'}"
    if config.data.views:
        lines.append(f"clips are also shown by {number}, one view drawn for each clip and epoch")
    elif views:
        lines.append(f"{cache.path} has {number}: --views learns from them too")
    return lines
