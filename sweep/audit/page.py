"""What an audit found, for people: the lines of a terminal, and audit.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...train.folds.published import named
from ...train.results.metrics import spread
from ...train.results.pages.summary import interval, leak_lines, percent, plus_minus
from .findings import CHOSEN, CONTROL, INNER, LAST, ORACLE, Audit, Permuted

NAMES = {
    LAST: "last epoch",
    INNER: "inner validation",
    ORACLE: "oracle (best epoch on the test half)",
    CONTROL: "control (pooled statistics)",
}
FEW = 0.3  # of the labels changed, below which the permutations are a poor reference
COLUMNS = ("estimate", "WAR over seeds", "95 %", "UAR over seeds", "95 %", "WAR, permuted labels")


def lines(audit: Audit) -> list[str]:
    """Return the lines that a terminal shows."""
    rows = [list(COLUMNS), *table(audit)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    shown = [
        "  " + "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
    return [
        audit.facts["heading"],
        *leak_lines(audit.leaks),
        what(audit),
        *shown,
        *[f"  {line}" for line in sentences(audit)],
    ]


def page(audit: Audit) -> str:
    """Return the page as Markdown."""
    facts = audit.facts
    blocks = [
        f"# Audit of {facts['cache']}",
        f"**{facts['heading']}.** Features `{facts['feature']}`.",
        *[f"**{line}**" for line in leak_lines(audit.leaks)],
        what(audit),
        markdown(COLUMNS, table(audit)),
        "\n".join(f"- {line}" for line in sentences(audit)),
        "## How",
        "\n".join(f"- {line}" for line in how(audit)),
    ]
    return "\n\n".join(blocks) + "\n"


def what(audit: Audit) -> str:
    """Return what was trained on what."""
    facts = audit.facts
    folds = len(facts["protocol"]["folds"])
    people = f" of {facts['people']} people" if facts["people"] else ""
    return (
        f"{facts['clips']} tested clips{people}, {folds} folds × {len(facts['seeds'])} seeds, {facts['epochs']} epochs; "
        f"the score is that of the {NAMES[CHOSEN[facts['select']]]}"
    )


def table(audit: Audit) -> list[list[str]]:
    """Return a row for each estimate."""
    rows = []
    for name, one in audit.estimates.items():
        rows.append(
            [
                NAMES[name],
                plus_minus(one.over_seeds("war")),
                interval(one.intervals.get("war")),
                plus_minus(one.over_seeds("uar")),
                interval(one.intervals.get("uar")),
                plus_minus(spread(audit.permuted.reached[name]["war"])) if audit.permuted is not None else "–",
            ]
        )
    return rows


def sentences(audit: Audit) -> list[str]:
    """Return the findings in words."""
    facts, score = audit.facts, audit.score
    found = []
    for pair, one in audit.differences.items():
        first, second = pair.split(" - ")
        if second == CONTROL:
            found.append(one.sentence(NAMES[first], NAMES[second]))
            continue
        ends = (
            f" (95 % {signed(one.low)} to {signed(one.high)})" if one.low is not None and one.high is not None else ""
        )
        same = "" if ends else ": the same predictions"
        found.append(f"{NAMES[first]} − {NAMES[second]} = {signed(one.value)} points{ends}{same}")
    seeds = score.by_seed["war"]
    found.append(
        f"seeds: WAR from {percent(min(seeds))} to {percent(max(seeds))}, standard deviation "
        f"{points(score.over_seeds('war').sd or 0.0)} points"
    )
    found += _detectable_lines(audit.detectable, facts)
    if audit.permuted is not None:
        found += _permuted_lines(audit.permuted)
    return found


def _detectable_lines(detectable: Mapping[str, float], facts: Mapping) -> list[str]:
    over = f"{facts['people']} people" if facts["people"] else f"{facts['clips']} clips"
    alike, unlike = detectable.get("like_two_seeds"), detectable.get("like_the_control")
    if alike is None:
        return [] if unlike is None else [f"smallest detectable difference: {points(unlike)} points"]
    between = f"{points(alike)} points between models as alike as two seeds of this one"
    between += f", {points(unlike)} between models as unlike as this one and the control" if unlike is not None else ""
    return [
        f"smallest detectable difference of two models on these {over} with {len(facts['seeds'])} seeds each "
        f"(80 % power, two-sided 5 %): {between}"
    ]


def _permuted_lines(permuted: Permuted) -> list[str]:
    number = permuted.number
    least = f", the least that {number} permutations can show" if permuted.p["war"] <= 1 / (1 + number) else ""
    found = [
        f"permuted labels reach {percent(permuted.share['war'])} of the WAR and {percent(permuted.share['uar'])} of the UAR "
        f"(p {permuted.p['war']:.3f}{least}); {permuted.changed:.0%} of the labels were changed"
    ]
    if permuted.changed < FEW:
        found.append(
            "few labels could be changed within people: most labels stayed the same, so the score with permuted labels says little"
        )
    return found


def how(audit: Audit) -> list[str]:
    """Return how the numbers were made."""
    facts, protocol = audit.facts, audit.facts["protocol"]
    held = sum(fold["val"] for fold in protocol["folds"].values()) / len(protocol["folds"])
    return [
        f"protocol: {named(protocol['asked'], protocol['kind'])}; independence of training and test: {protocol['independence']}",
        *protocol["notes"],
        f"The three estimates are three epochs of the same trainings. An inner validation part, {held:.0f} clips of a "
        "fold on average, was not learnt from, whichever epoch is taken: est train --select last learns from these "
        "clips too, and may reach more.",
        "The oracle chooses each fold's epoch by the test half that it is scored on. It is not a result.",
        "Permuted labels change places within people; a person with one class exchanges it with another such person. "
        "A model is taught them in the training half and the inner validation part, and scored on the true labels of "
        "the test half. p is (1 + number) / (1 + permutations): the number of permutations that reach the score of "
        "the first seed where the tested clips have their permuted labels too.",
        f"Intervals are 95 %, over {facts['intervals_over']}. Seeds {', '.join(map(str, facts['seeds']))}. "
        f"Trained in {facts['seconds']:.0f} s altogether.",
    ]


def points(value: float) -> str:
    """Write a difference of shares in points."""
    return f"{100 * value:.1f}"


def signed(value: float) -> str:
    """Write a difference of shares in points, with its sign."""
    return f"{100 * value + 0.0:+.1f}".replace("-", "−")


def markdown(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    marked = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (header, *rows)]
    return "\n".join([marked[0], "|" + "---|" * len(header), *marked[1:]])
