"""Checking a card: is it of today's protocol, whole, and do its numbers follow from its confusion matrices?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EstError, UsageError
from ..train.results.metrics import Scores, spread
from .card import Card
from .clips import why_partial
from .recipe import DatasetRecipe
from .registry import recipe_named

TOLERANCE = 2e-4  # cells of a matrix are rounded to four decimals
METRICS = ("war", "uar", "uf1")


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found about one card."""

    path: Path
    card: Card | None = None
    problems: tuple[str, ...] = ()  # with any of them it fills no cell
    remedy: str = ""
    remarks: tuple[str, ...] = field(default=())  # worth knowing, and no reason to refuse

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "card": str(self.path),
            "good": not self.problems,
            "problems": list(self.problems),
            "remedy": self.remedy,
            "remarks": list(self.remarks),
        }


def check_card(path: Path, *, allow_partial: bool = False) -> Checked:
    """Read and check a card; `allow_partial` takes one of a part of the data set."""
    try:
        card = Card.read(path)
        recipe = recipe_named(card.recipe)
    except EstError as error:
        return Checked(path=path, problems=(error.message,), remedy=error.remedy or "")
    if other := other_protocol(card, recipe):
        return Checked(path=path, card=card, problems=(other,), remedy=command_of(card, recipe))
    try:
        problems = find_problems(card, recipe)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        found = f"The card is damaged: {type(error).__name__}: {error}."
        return Checked(path=path, card=card, problems=(found,), remedy=command_of(card, recipe))
    partial = card.partial or why_partial(recipe, card.counts["listed"], card.counts["missing"])
    if partial and not allow_partial:
        problems.append(f"It is partial ({partial}), and the table takes whole data sets only.")
    remarks = [f"leak: {leak.get('words', '')}" for leak in card.leaks]
    remarks += [] if len(card.seeds) > 1 else ["one seed: the luck of training is not in its interval"]
    remedy = command_of(card, recipe) if problems else ""
    return Checked(path=path, card=card, problems=tuple(problems), remedy=remedy, remarks=tuple(remarks))


def other_protocol(card: Card, recipe: DatasetRecipe) -> str:
    """Say that a card is of another version of its protocol; empty where it is of this one."""
    if card.protocol == recipe.version:
        return ""
    age = "an earlier" if card.protocol < recipe.version else "a later"
    return (
        f"It is of {card.recipe} protocol {card.protocol}, {age} version, made by est {card.code.get('version', 'unknown')} "
        f"({str(card.code.get('commit') or card.code.get('sources', ''))[:12]}); this est has {recipe.protocol}. Numbers of two protocols "
        "are not compared."
    )


def command_of(card: Card, recipe: DatasetRecipe) -> str:
    """Return the command that makes the card anew."""
    root = "" if recipe.rendering is not None else " --root DIR"
    model = card.model.get("name", recipe.model)
    weights = card.encoder.get("weights", recipe.weights)
    options = f" --model {model}" if model != recipe.model else ""
    options += f" --weights {weights}" if weights != recipe.weights else ""
    return f"est recipe run {recipe.name}{root}{options}"


def find_problems(card: Card, recipe: DatasetRecipe) -> list[str]:
    """Return every contradiction on a card."""
    problems = []
    if card.rendered != (recipe.rendering is not None):
        problems.append(
            f"rendered is {card.rendered}, and {recipe.name} {'renders' if recipe.rendering else 'does not'}."
        )
    problems += score_problems("scores", card.scores, ("war", "uar"))  # UF1 of a mean is no mean of UF1
    problems += score_problems("control", card.control, METRICS)
    if problems:
        return problems
    problems += _count_problems(card, recipe) + _seed_problems(card)
    for metric in METRICS:
        value = card.scores[metric]["value"]
        ends = card.intervals.get(metric)
        if ends and not (0 <= ends[0] <= value + TOLERANCE and value - TOLERANCE <= ends[1] <= 1):
            problems.append(f"intervals.{metric} is {ends[0]:.4f} to {ends[1]:.4f}, and the score {value:.4f}.")
    gain = card.scores["war"]["value"] - card.control["war"]["value"]
    if not _same(card.difference["value"], gain):
        problems.append(
            f"difference.value is {card.difference['value']:.4f}, and WAR less that of the control {gain:.4f}."
        )
    return problems


def score_problems(name: str, scores: Mapping[str, Any], metrics: Iterable[str]) -> list[str]:
    """Say where scores do not follow from their own confusion matrix."""
    labels, matrix = scores["labels"], np.array(scores["confusion"], float)
    if matrix.shape != (len(labels), len(labels) + 1):
        return [
            f"{name}.confusion is {' × '.join(map(str, matrix.shape))}, expected {len(labels)} × {len(labels) + 1}."
        ]
    if not np.isfinite(matrix).all() or (matrix < 0).any():
        return [f"{name}.confusion holds numbers that are no counts."]
    made = Scores(labels=tuple(labels), confusion=matrix)
    problems = []
    if scores["war"]["total"] != made.total:
        problems.append(f"{name}: {scores['war']['total']} clips are said, and the confusion matrix has {made.total}.")
    for metric in metrics:
        said, follows = scores[metric]["value"], getattr(made, metric)
        if not _same(said, follows):
            problems.append(f"{name}.{metric} is {said}, and the confusion matrix gives {follows:.4f}.")
    return problems


def _seed_problems(card: Card) -> list[str]:
    """Say where means and deviations over seeds do not follow from the confusion matrices of the seeds."""
    if list(card.by_seed) != [str(seed) for seed in card.seeds] or not card.seeds:
        return [f"by_seed is of the seeds {', '.join(card.by_seed)}, and seeds are {card.seeds}."]
    labels = tuple(card.scores["labels"])
    matrices = [np.array(one, float) for one in card.by_seed.values()]
    shape = np.shape(card.scores["confusion"])
    if any(one.shape != shape or (one != one.round()).any() or (one < 0).any() for one in matrices):
        return ["by_seed holds numbers that are no counts, or another number of classes."]
    problems = []
    if np.abs(np.mean(matrices, axis=0) - np.array(card.scores["confusion"], float)).max() > TOLERANCE:
        problems.append("scores.confusion is not the mean of the matrices in by_seed.")
    seeds = [Scores(labels=labels, confusion=one) for one in matrices]
    for metric in METRICS:
        said, follows = card.over_seeds[metric], spread([getattr(one, metric) for one in seeds])
        if said["number"] != follows.number or not _same(said["mean"], follows.mean):
            problems.append(f"over_seeds.{metric}.mean is {said['mean']}, and the seeds give {follows.mean:.4f}.")
        if not _same(said["sd"], math.nan if follows.sd is None else follows.sd):
            problems.append(f"over_seeds.{metric}.sd is {said['sd']}, and the seeds give {follows.sd}.")
        if not _same(card.scores[metric]["value"], follows.mean):
            problems.append(
                f"scores.{metric} is {card.scores[metric]['value']}, and the seeds give {follows.mean:.4f}."
            )
    return problems


def _count_problems(card: Card, recipe: DatasetRecipe) -> list[str]:
    """Say where counts contradict each other."""
    problems = []
    counts, tested = card.counts, sum(card.folds["tested"].values())
    total = card.scores["war"]["total"]
    per_class = dict(
        zip(card.scores["labels"], np.array(card.scores["confusion"]).sum(axis=1).round().tolist(), strict=True)
    )
    if card.control["war"]["total"] != total or card.control["labels"] != card.scores["labels"]:
        problems.append("Model and control were not scored on the same clips and classes.")
    if tested != total:
        problems.append(f"The folds test {tested} clips, and {total} are scored.")
    if sum(counts["per_class"].values()) != counts["clips"]:
        problems.append(f"per_class adds up to {sum(counts['per_class'].values())}, and clips are {counts['clips']}.")
    if counts["clips"] > counts["listed"] or counts["failed"] + counts["missing"] > 2 * counts["listed"]:
        problems.append(f"{counts['clips']} clips are scored of {counts['listed']} that are listed.")
    more = {name: number for name, number in per_class.items() if number > counts["per_class"].get(name, 0)}
    if more:
        problems.append(f"More clips are scored than there are: {more}, of {counts['per_class']}.")
    is_each_tested = recipe.folds != "given" or recipe.num_folds > 1
    if is_each_tested and total != counts["clips"]:
        problems.append(f"{total} of {counts['clips']} clips are scored, and {recipe.protocol} tests each once.")
    if is_each_tested and not card.partial and len(card.folds["tested"]) != recipe.num_folds:
        problems.append(f"{len(card.folds['tested'])} folds are tested, and {recipe.protocol} has {recipe.num_folds}.")
    return problems


def _same(one: float | None, other: float) -> bool:
    return (one is None) == math.isnan(other) and (one is None or abs(one - other) <= TOLERANCE)


def read_cards(folder: Path, *, allow_partial: bool = False) -> list[Card]:
    """Return the cards of a folder, oldest first; one that does not pass is refused."""
    checked = [check_card(path, allow_partial=allow_partial) for path in sorted(folder.glob("*.json"))]
    if bad := [one for one in checked if one.problems]:
        said = "; ".join(f"{one.path.name}: {' '.join(one.problems)}" for one in bad)
        raise UsageError(f"{len(bad)} of {len(checked)} cards do not pass: {said}", remedy=bad[0].remedy or None)
    cards = [one.card for one in checked if one.card is not None]
    twice = {card.digest for card in cards if [other.digest for other in cards].count(card.digest) > 1}
    if twice:
        raise UsageError(
            f"The same card is in {folder} more than once ({', '.join(sorted(twice))[:60]}).", remedy="remove one"
        )
    return sorted(cards, key=lambda card: (card.date, card.digest))
