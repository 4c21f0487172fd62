"""A card as Markdown: the page beside its JSON, and its section in docs/results.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import counted
from ..train.models.registry import config_class
from .card import Card

APPARENT = "Predictions are apparent expressions: what a face looks like, not what somebody feels."
RENDERED = (
    "Rendered data: drawn by this project. It shows that the complete pipeline works, and says nothing about people."
)


def card_page(card: Card, *, level: int = 1) -> str:
    """Return the page; `level` is that of its heading."""
    lines = [
        f"{'#' * level} {title(card)}",
        "",
        *marks(card),
        headline(card),
        "",
        "| | WAR | UAR | UF1 |",
        "|---|---|---|---|",
        row(card.model["title"], card.scores, card.intervals),
        row("control: pooled statistics, linear", card.control),
        "",
        f"{difference_text(card)} Intervals are 95 % over {card.intervals['over']}; ± is over seeds. {APPARENT}",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {escape(value)} |" for name, value in facts(card).items()),
        "",
        *confusion_lines(card),
        "",
    ]
    return "\n".join(lines)


def title(card: Card) -> str:
    """Return the heading of a card."""
    return f"{card.recipe}: {card.model['name']} on {card.encoder_name}, {card.date[:10]}"


def marks(card: Card) -> list[str]:
    """Return what has to be known before the numbers are read."""
    found = [f"**Partial: {card.partial}. This is no result of the data set.**"] if card.partial else []
    found += [f"**{RENDERED}**"] if card.rendered else []
    if modality := published_modality(card):
        found.append(
            f"**Not as published: {card.model['title']} is published on features of {modality}, and these are of face crops.**"
        )
    found += [f"**LEAK: {leak.get('words', 'tested clips were learnt from')}**" for leak in card.leaks]
    return [line for mark in found for line in (mark, "")]


def published_modality(card: Card) -> str:
    """Return what the features of the published system are of, where it is not the face crops that a recipe extracts."""
    return config_class(card.model["name"]).published_modality


def headline(card: Card) -> str:
    """Say under which protocol, on how many clips, of how many seeds."""
    tested = card.scores["war"]["total"]
    return (
        f"{card.recipe} protocol {card.protocol}: {tested:,} tested clip{'s' * (tested != 1)}, "
        f"{counted(len(card.folds['tested']), 'fold')}, "
        f"{counted(len(card.seeds), 'seed')}, independence {card.folds['independence']}. {card.model['heading']}."
    )


def row(name: str, scores: Mapping[str, Any], intervals: Mapping[str, Any] | None = None) -> str:
    """Return a row of scores."""
    cells = []
    for metric in ("war", "uar", "uf1"):
        ends = (intervals or {}).get(metric)
        cells.append(
            percent(scores[metric]["value"]) + (f" ({100 * ends[0]:.1f} to {100 * ends[1]:.1f})" if ends else "")
        )
    return f"| {name} | {' | '.join(cells)} |"


def percent(value: float | None) -> str:
    """Write a share as 65.85."""
    return "–" if value is None else f"{100 * value:.2f}"


def points(value: float) -> str:
    """Write a difference of shares with its sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def difference_text(card: Card) -> str:
    """Return how far the model is above the control, and whether that could be chance."""
    found = card.difference
    text = f"Model − control: {points(found['value'])} points of WAR"
    if found.get("low") is None:
        return f"{text} ({found['units']} {found['unit']}: too few for an interval)."
    verdict = {1: "the model is better", -1: "the control is better", 0: "cannot tell them apart"}[found["better"]]
    return f"{text} ({points(found['low'])} to {points(found['high'])}, {found['units']} {found['unit']}): {verdict}."


def facts(card: Card) -> dict[str, str]:
    """Return everything else that is on the card, in words."""
    counts, encoder, machine = card.counts, card.encoder, card.machine
    spread = ", ".join(
        f"{name.upper()} {percent(value['mean'])}" + (f" ± {100 * value['sd']:.2f}" if value["sd"] is not None else "")
        for name, value in card.over_seeds.items()
    )
    settings = ", ".join(f"{name} = {value}" for name, value in card.model["settings"].items())
    prints = card.fingerprints
    return {
        "clips": f"{counts['clips']:,} of {counts['listed']:,} found, {counts['failed']} could not be read and count as wrong"
        + (f", {counts['subjects']} people" if counts["subjects"] else ""),
        "per class": ", ".join(f"{label} {number}" for label, number in counts["per_class"].items()),
        "over seeds": f"{spread} (seeds {', '.join(map(str, card.seeds))})",
        "model": f"{card.model['name']}, preset {card.model['preset']}, {card.model['epochs']} epochs"
        + (f"; {settings}" if settings else ""),
        "encoder": f"{encoder['name']}, weights {encoder['weights']} ({encoder['weights_digest'][:12]}), pixels {encoder['normalize']}, "
        f"{encoder['size']} × {encoder['size']}, {encoder['precision']}; detector {encoder['detector']}",
        "licence of the weights": encoder["licence"] or "not stated",
        "fingerprints": f"clips {prints['clips'][:12]}, annotations {prints['annotations'][:12]}, "
        + ", ".join(f"{name} {value[:12]}" for name, value in prints["cache"].items()),
        "code": f"est {card.code['version']}, sources {card.code['sources'][:12]}"
        + (f", commit {short_commit(card.code['commit'])}" if card.code["commit"] else ""),
        "machine": f"{machine.get('device', '')}, {machine.get('precision', '')}, {machine['machine']}, "
        f"torch {machine['versions'].get('torch', '')}, Python {machine['python']}",
        "time": f"extraction {card.seconds['extract']:.0f} s, training {card.seconds['train']:.0f} s",
        "leaks": f"{len(card.leaks)}: see above" if card.leaks else "none found",
    }


def short_commit(commit: str) -> str:
    """Shorten a commit, and say whether its sources were changed."""
    plain, _, changed = commit.partition("-")
    return plain[:12] + (" and changes" if changed else "")


def confusion_lines(card: Card) -> list[str]:
    """Return the confusion matrix: rows of the truth, columns of predictions, means over seeds."""
    labels = card.scores["labels"]
    lines = [f"| truth \\ prediction | {' | '.join(map(escape, labels))} | none |", "|---" * (len(labels) + 2) + "|"]
    for label, cells in zip(labels, card.scores["confusion"], strict=True):
        lines.append(f"| {escape(label)} | {' | '.join(f'{cell:g}' for cell in cells)} |")
    return lines


def escape(text: str) -> str:
    """Write a text so that it stays in its cell."""
    return text.replace("|", "\\|").replace("\n", " ")
