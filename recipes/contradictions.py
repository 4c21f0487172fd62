"""Find contradictions within a result card, or between card and recipe.

What follows from the confusion matrices and counts is computed again. An interval needs the predictions of each person, which are not on a
card: only its place and its sign are checked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from ..errors import UsageError, counted, some
from ..inputs.published import dataset_named
from ..train.models.registry import config_class
from ..train.results.compare import UNITS
from ..train.results.intervals import METRICS, MIN_UNITS
from ..train.results.metrics import Scores, mean_scores, plain, spread
from .card import Card, is_number, shorten
from .choice import expect_frames
from .clips import deal_folds, why_partial
from .recipe import DatasetRecipe
from .rendering import planned_clips

TOLERANCE = 2e-4  # cells of a matrix are rounded to four decimals
INDEPENDENCE = re.compile(r"by subject|by source|unknown|subjects shared \(\d+\)")  # as Plan.independence has it


def find_problems(card: Card, recipe: DatasetRecipe) -> list[str]:
    """Return every contradiction on a card whose keys and types are right."""
    found = _origin_problems(card, recipe)
    if unsound := _matrix_problems(card):
        return found + unsound
    labels = tuple(card.scores["labels"])
    seeds = [Scores(labels=labels, confusion=np.array(rows, float)) for rows in card.by_seed.values()]
    control = Scores(labels=labels, confusion=np.array(card.control["confusion"], float))
    truths = {str(one.truth.tolist()) for one in (*seeds, control)}
    if len(truths) > 1:
        return [
            *found,
            "Seeds and control were not tested on the same clips: the rows of their matrices add up to other numbers.",
        ]
    over_seeds = {name: asdict(spread([getattr(one, name) for one in seeds])) for name in METRICS}
    scores = mean_scores(seeds).to_json()
    scores["uf1"]["value"] = plain(over_seeds["uf1"]["mean"])  # the mean over seeds, not that of the mean counts
    of_seeds, of_control = "the matrices of the seeds give", "its confusion matrix gives"
    return [
        *found,
        *_disagreements("scores", card.scores, scores, of_seeds),
        *_disagreements("over_seeds", card.over_seeds, over_seeds, of_seeds),
        *_disagreements("control", card.control, control.to_json(), of_control),
        *_count_problems(card, recipe, seeds, control),
        *_class_problems(card, recipe, control),
        *_fold_problems(card, recipe, control.total),
        *_unit_problems(card, recipe, control.total),
        *_interval_problems(card, {name: over_seeds[name]["mean"] for name in METRICS}),
        *_difference_problems(card, seeds, control),
    ]


def is_tested_whole(recipe: DatasetRecipe) -> bool:
    """Return whether the protocol tests each clip once, and not only those of one half."""
    return recipe.folds != "given" or recipe.num_folds > 1


def _origin_problems(card: Card, recipe: DatasetRecipe) -> list[str]:
    """Return where the recipe could not have made such a card."""
    found = []
    if card.rendered != (recipe.rendering is not None):
        does = "renders its clips" if recipe.rendering else "renders nothing"
        found.append(f"rendered is {str(card.rendered).lower()}, and {recipe.name} {does}.")
    try:
        model = config_class(card.model["name"])
        expect_frames(model())
    except UsageError as error:
        return [*found, f"model.name: {error.message}"]
    if card.model["title"] != model.title:
        found.append(
            f"model.title is {shorten(card.model['title'])}, and the title of {model.name} is {model.title!r}."
        )
    return found


def _matrix_problems(card: Card) -> list[str]:
    """Return which confusion matrices cannot be read."""
    labels = card.scores["labels"]
    if card.control["labels"] != labels:
        return ["control.labels are not scores.labels: model and control were not scored on the same classes."]
    if list(card.by_seed) != [str(seed) for seed in card.seeds]:
        return [f"by_seed is of the seeds {', '.join(card.by_seed)}, and seeds are {card.seeds}."]
    width = len(labels) + 1
    matrices = {f"by_seed.{seed}": rows for seed, rows in card.by_seed.items()} | {
        "control.confusion": card.control["confusion"]
    }
    found = []
    for name, rows in matrices.items():
        if len(rows) != len(labels) or any(len(row) != width for row in rows):
            found.append(
                f"{name} has {len(rows)} rows of {', '.join(sorted({str(len(row)) for row in rows}))}, expected {len(labels)} of {width}."
            )
        elif any(cell < 0 or cell != round(cell) for row in rows for cell in row):
            found.append(f"{name} holds numbers that are no counts.")
        elif not any(map(any, rows)):
            found.append(f"{name} counts no clip.")
    return found


def _disagreements(name: str, said: Any, follows: Any, source: str) -> list[str]:
    """Compare what a card says with what was computed; keys that are only on the card are left alone."""
    if isinstance(follows, dict):
        if not isinstance(said, dict):
            return [f"{name} is {shorten(said)}, expected an object."]
        return [
            line
            for key, value in follows.items()
            for line in _disagreements(f"{name}.{key}", said.get(key), value, source)
        ]
    if isinstance(follows, list):
        if not isinstance(said, list) or len(said) != len(follows):
            there = f"has {len(said)} entries" if isinstance(said, list) else f"is {shorten(said)}"
            return [f"{name} {there}, expected {len(follows)} entries."]
        pairs = enumerate(zip(said, follows, strict=True))
        return [line for at, (one, other) in pairs for line in _disagreements(f"{name}.{at}", one, other, source)]
    if _same(said, follows):
        return []
    return [
        f"{name} is {shorten(said)}, and {source} {f'{follows:.4f}' if isinstance(follows, float) else shorten(follows)}."
    ]


def _count_problems(card: Card, recipe: DatasetRecipe, seeds: Sequence[Scores], control: Scores) -> list[str]:
    """Return where clips and people contradict each other."""
    counts, total, found = card.counts, control.total, []
    clips, listed, failed, missing, subjects = (
        counts[name] for name in ("clips", "listed", "failed", "missing", "subjects")
    )
    is_whole = clips == listed
    if clips > listed or (not is_whole and not card.partial):
        found.append(
            f"counts.clips is {clips} and counts.listed {listed}: a card of fewer clips than are listed is partial."
        )
    if failed > clips or missing > (failed if is_whole else listed):
        found.append(
            f"counts.failed is {failed} and counts.missing {missing} of {clips} clips: missing files are among those that failed."
        )
    if is_tested_whole(recipe) and total != clips:
        found.append(f"{total} of {counted(clips, 'clip', 'are')} scored, and {recipe.protocol} tests each once.")
    fewest = min(one.unpredicted for one in (*seeds, control))
    if failed - max(clips - total, 0) > fewest:
        found.append(
            f"counts.failed is {failed}, and the matrices show {counted(fewest, 'clip')} without a prediction."
        )
    if subjects > clips:
        found.append(f"counts.subjects is {subjects}, of {counted(clips, 'clip')}.")
    if recipe.folds != "given" and subjects < recipe.num_folds:
        found.append(
            f"counts.subjects is {subjects}, and {recipe.protocol} deals people into {recipe.num_folds} folds."
        )
    if is_whole and recipe.subjects not in (0, subjects) and not why_partial(recipe, listed, missing):
        found.append(
            f"counts.subjects is {subjects}, and the clips of {recipe.protocol} show {recipe.subjects} people."
        )
    return found


def _class_problems(card: Card, recipe: DatasetRecipe, control: Scores) -> list[str]:
    """Return where the classes are not those of the data set, or their clips not those that were scored."""
    per_class, clips = card.counts["per_class"], card.counts["clips"]
    planned = planned_clips(recipe) if recipe.rendering is not None else None
    labels = dataset_named(recipe.name).labels if planned is None else planned.labels
    if foreign := sorted({*per_class, *control.labels} - set(labels)):
        return [f"{some(foreign)} are no classes of {recipe.title}: these are {', '.join(labels)}."]
    found = []
    if sum(per_class.values()) != clips:
        found.append(f"counts.per_class adds up to {sum(per_class.values())}, and counts.clips is {clips}.")
    scored = Counter(dict(zip(control.labels, control.truth.tolist(), strict=True)))
    for label in labels:
        said = per_class.get(label, 0)
        if scored[label] > said or (is_tested_whole(recipe) and scored[label] != said):
            found.append(f"counts.per_class.{label} is {said}, and {scored[label]} clips of it are scored.")
    if planned is not None and not card.partial and per_class != planned.per_class:
        found.append(f"counts.per_class is {shorten(per_class)}, and {recipe.protocol} renders {planned.per_class}.")
    return found


def _fold_problems(card: Card, recipe: DatasetRecipe, total: int) -> list[str]:
    """Return where the folds are not those of the protocol."""
    tested, found = card.folds["tested"], []
    if sum(tested.values()) != total:
        found.append(f"folds.tested adds up to {counted(sum(tested.values()), 'clip')}, and {total} are scored.")
    if empty := [name for name, number in tested.items() if not number]:
        found.append(f"folds.tested: {some(empty)} test no clip.")
    if len(tested) > recipe.num_folds or (len(tested) < recipe.num_folds and not card.partial):
        found.append(f"folds.tested has {counted(len(tested), 'fold')}, and {recipe.protocol} has {recipe.num_folds}.")
    independence, is_dealt = card.folds["independence"], recipe.folds != "given"
    if not INDEPENDENCE.fullmatch(independence) or (is_dealt and independence != "by subject"):
        expected = "by subject" if is_dealt else "by subject, by source, unknown or subjects shared (N)"
        found.append(f"folds.independence is {shorten(independence)}, expected {expected}.")
    if is_dealt and not card.partial and not found and card.counts["subjects"] >= recipe.num_folds:
        for name, least in _least(card, recipe).items():
            if tested.get(name, 0) < least:
                found.append(
                    f"folds.tested.{name} is {tested.get(name, 0)}, and it tests at least {counted(least, 'clip')}."
                )
    return found


def _least(card: Card, recipe: DatasetRecipe) -> dict[str, int]:
    """Count the clips of each fold: of rendered ones all, otherwise one of each person, who are dealt by their number alone."""
    if recipe.rendering is not None:
        folds = [one.fold for one in planned_clips(recipe).inputs]
    else:
        people = min(card.counts["subjects"], card.counts["clips"])
        folds = list(deal_folds(recipe, {str(one) for one in range(people)}).values())
    return {f"fold{fold}": number for fold, number in sorted(Counter(folds).items())}


def _unit_problems(card: Card, recipe: DatasetRecipe, total: int) -> list[str]:
    """Return where people or clips, which intervals are over, are others than were tested."""
    over, units, subjects = card.intervals["over"], card.difference["units"], card.counts["subjects"]
    if over not in UNITS or card.difference["unit"] != UNITS[over]:
        return [
            f"intervals.over is {shorten(over)} and difference.unit {shorten(card.difference['unit'])}, "
            "expected subjects and people, or clips and clips."
        ]
    is_dealt = recipe.folds != "given"
    if (over == "subjects") != bool(subjects) and (over == "subjects" or is_tested_whole(recipe)):
        return [f"intervals.over is {over}, and counts.subjects {subjects}."]
    expected = total if over == "clips" else subjects
    if units > total or (units != expected and (over == "clips" or is_dealt)):
        return [f"difference.units is {units}, and {min(expected, total)} {UNITS[over]} are tested."]
    return []


def _interval_problems(card: Card, values: Mapping[str, float]) -> list[str]:
    """Return which intervals of scores cannot be: outside 0 to 1, beside their score, of no width, or absent."""
    found, units = [], card.difference["units"]
    for metric, value in values.items():
        ends = card.intervals.get(metric)
        if (ends is None) != (units < MIN_UNITS):
            there = "absent" if ends is None else "there"
            found.append(
                f"intervals.{metric} is {there}, and of {units} units there is {'none' if ends else 'one'}: it takes {MIN_UNITS}."
            )
        elif ends is not None and not (
            0 <= ends[0] < ends[1] <= 1 and ends[0] - TOLERANCE <= value <= ends[1] + TOLERANCE
        ):
            found.append(
                f"intervals.{metric} is {ends[0]:.4f} to {ends[1]:.4f}, and the score {value:.4f}: "
                "it holds its score and lies between 0 and 1."
            )
    return found


def _difference_problems(card: Card, seeds: Sequence[Scores], control: Scores) -> list[str]:
    """Return where the difference to the control is not that of the scores, or its verdict not that of its interval."""
    one, found = card.difference, []
    value, low, high = one["value"], one["low"], one["high"]
    gain = float(np.mean([seed.war for seed in seeds])) - control.war
    if not _same(value, gain):
        found.append(f"difference.value is {value:.4f}, and WAR less that of the control {gain:.4f}.")
    if (low is None) != (high is None) or (low is None) != (one["units"] < MIN_UNITS):
        return [
            *found,
            f"difference.low is {shorten(low)} and high {shorten(high)}: from {MIN_UNITS} units on there are both, below neither.",
        ]
    better = 0
    if low is not None:
        better = int(low > 0) - int(high < 0)
        half = max(value - low, high - value)
        if half <= 0 or not (_same(low, max(value - half, -1)) and _same(high, min(value + half, 1))):
            found.append(
                f"difference.low and high are {low:.4f} and {high:.4f}: expected as far below as above {value:.4f}, within −1 and 1."
            )
    if one["better"] != better:
        found.append(f"difference.better is {one['better']}, and its interval says {better}.")
    if (one["detectable"] is None) != (low is None) or (one["detectable"] or 1) <= 0:
        found.append(
            f"difference.detectable is {shorten(one['detectable'])}: expected a number above 0 where there is an interval."
        )
    if one["p"] > 1:
        found.append(f"difference.p is {one['p']:.4f}, expected 0 to 1.")
    if one["alike"] and any((seed.hits != control.hits).any() for seed in seeds):
        found.append("difference.alike is true, and model and control are right on other numbers of clips.")
    fixed = {"seeds": [len(seeds), 1], "fixed": True, "seeds_counted": len(seeds) > 1}
    return found + _disagreements("difference", one, fixed, "the seeds give")


def _same(said: Any, follows: Any) -> bool:
    """Compare a value with one that was computed; numbers up to the rounding of a card."""
    if is_number(said) and is_number(follows):
        return abs(said - follows) <= TOLERANCE
    return type(said) is type(follows) and said == follows
