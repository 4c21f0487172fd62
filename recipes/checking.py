"""Checking a card: is it of today's protocol, whole, and do its numbers agree with each other?"""

from __future__ import annotations

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import EstError, UsageError
from .card import Card, find_misshapen
from .choice import frame_models
from .clips import why_partial
from .contradictions import find_problems
from .recipe import DatasetRecipe
from .registry import recipe_named

MOST = 8  # problems that are told of one card


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What was found about one card."""

    path: Path
    card: Card | None = None
    problems: tuple[str, ...] = ()  # with any of them it fills no cell
    remedy: str = ""
    remarks: tuple[str, ...] = field(default=())  # worth knowing, and no reason to refuse

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON data."""
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
    if misshapen := find_misshapen(card):
        return Checked(path=path, card=card, problems=_shorten(misshapen), remedy=command_of(card, recipe))
    problems = find_problems(card, recipe)
    partial = card.partial or why_partial(recipe, card.counts["listed"], card.counts["missing"])
    if partial and not allow_partial:
        problems.append(f"It is partial ({partial}), and the table takes whole data sets only.")
    remarks = [f"leak: {leak['words']}" for leak in card.leaks]
    remarks += [] if len(card.seeds) > 1 else ["one seed: the variation between trainings is not in its interval"]
    remedy = command_of(card, recipe) if problems else ""
    return Checked(path=path, card=card, problems=_shorten(problems), remedy=remedy, remarks=tuple(remarks))


def other_protocol(card: Card, recipe: DatasetRecipe) -> str:
    """Say that a card is of another version of its protocol; empty where it is of this one."""
    if card.protocol == recipe.version:
        return ""
    age = "an earlier" if card.protocol < recipe.version else "a later"
    return (
        f"It is of {card.recipe} protocol {card.protocol}, {age} version, made by est "
        f"{card.code.get('version', 'unknown')} "
        f"({str(card.code.get('commit') or card.code.get('sources', ''))[:12]}); this est has {recipe.protocol}. "
        "Numbers of two protocols are not compared."
    )


def command_of(card: Card, recipe: DatasetRecipe) -> str:
    """Return the command that makes the card again."""
    root = "" if recipe.rendering is not None else " --root DIR"
    model, weights = card.model.get("name"), card.encoder.get("weights")
    options = f" --model {model}" if model != recipe.model and model in frame_models() else ""
    options += f" --weights {shlex.quote(weights)}" if isinstance(weights, str) and weights != recipe.weights else ""
    return f"est recipe run {recipe.name}{root}{options}"


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


def _shorten(problems: list[str]) -> tuple[str, ...]:
    rest = len(problems) - MOST
    return (*problems[:MOST], *([f"And {rest} more."] if rest > 0 else []))
