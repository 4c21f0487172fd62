"""The table of data set × model × encoder, made of cards: docs/results.md. A cell that no card fills is a dash."""

from __future__ import annotations

from collections.abc import Sequence

from .card import Card
from .cardpage import card_page, percent, points, published_modality
from .choice import frame_models
from .recipe import DatasetRecipe
from .registry import RECIPES

EMPTY = "–"
CONTROL = "control"
HEAD = """# Results on data

Results of recipes, data set by data set: a row for each model that a recipe can train, a column for each frame encoder, a dash where
nobody has contributed a card yet. **A dash means: not measured.** The page is made of the cards in `docs/cards/` by
`python docs/make_results.py`; `make test` checks that it is current.

A cell has WAR / UAR in percent, pooled over the folds of the recipe's protocol: mean ± standard deviation over seeds. In brackets stands
how far its WAR is above that of the control (pooled statistics and a linear classifier on the same features and folds), in points, with
\\* where the 95 % interval of the difference leaves 0 out. Where a cell has several cards all are listed, oldest first: none is chosen.

How a card is made and contributed: [recipes](recipes.md). Scores and files of a run: [scores](scores.md).
"""


def results_page(cards: Sequence[Card]) -> str:
    """Return the page."""
    parts = [HEAD]
    for recipe in RECIPES:
        own = [card for card in cards if card.recipe == recipe.name]
        parts.append("\n".join(section(recipe, own)))
    if cards:
        parts.append("## Cards\n")
        parts += [f"({card.name})=\n\n{card_page(card, level=3)}" for card in cards]
    return "\n".join(parts).rstrip("\n") + "\n"


def section(recipe: DatasetRecipe, cards: Sequence[Card]) -> list[str]:
    """Return the table of one data set."""
    usual = recipe.weights if ":" in recipe.weights else f"resnet18 {recipe.weights}"
    encoders = list(dict.fromkeys([usual, *(card.encoder_name for card in cards)]))
    command = f"est recipe run {recipe.name}" + ("" if recipe.rendering is not None else " --root DIR")
    lines = [
        f"## {recipe.title}",
        "",
        f"`{recipe.protocol}`: {recipe.what}. `{command}`",
        "",
        f"| model | {' | '.join(encoders)} |",
        "|---" * (1 + len(encoders)) + "|",
    ]
    for model in (*frame_models(), CONTROL):
        cells = []
        for encoder in encoders:
            found = [card for card in cards if card.encoder_name == encoder and model in (card.model["name"], CONTROL)]
            cells.append("<br>".join((control_cell if model == CONTROL else cell)(card) for card in found) or EMPTY)
        lines.append(f"| {model} | {' | '.join(cells)} |")
    return [*lines, ""]


def cell(card: Card) -> str:
    """Return what a card says of its model."""
    war, uar = (_spread(card, name) for name in ("war", "uar"))
    star = "\\*" if card.difference.get("better") else ""
    modality = published_modality(card)
    known = {"partial": card.partial, "LEAK": card.leaks, "rendered": card.rendered, f"not of {modality}": modality}
    marks = [mark for mark, holds in known.items() if holds]
    note = f" **{', '.join(marks)}**" if marks else ""
    return f"[{war} / {uar}](#{card.name}) ({points(card.difference['value'])}{star}){note}"


def control_cell(card: Card) -> str:
    """Return what a card says of the control."""
    return f"{percent(card.control['war']['value'])} / {percent(card.control['uar']['value'])}"


def _spread(card: Card, name: str) -> str:
    sd = card.over_seeds[name]["sd"]
    return percent(card.scores[name]["value"]) + ("" if sd is None else f" ± {100 * sd:.1f}")
