"""`est compare`: comparing runs, clip by clip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ...errors import counted
from ..options import examples
from ..screen import Screen, columns

if TYPE_CHECKING:
    from ...train.results.compare import Comparison, Duel

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN", help="Folders that est train made; one alone is compared with its control."),
]
Common = Annotated[
    bool, typer.Option("--common", help="Compare on the clips that all runs tested, if some runs also tested others.")
]


@examples("est compare runs/mine runs/other", "est compare runs/mine runs/other --common")
def compare(screen: Screen, *, runs: Runs, common: Common = False) -> int:
    """Compare runs with the first: differences over people. Also per class, and the settings that differ."""
    from ...train.results.compare import compare_runs

    found = compare_runs(runs, common=common)
    screen.result(found.to_json(), "\n".join(page(found)))
    return 0


def page(found: Comparison) -> list[str]:
    """Format a comparison as text."""
    from ...train.results.pages.summary import percent, plus_minus

    rows = [("", "WAR", "UAR", "UF1", "seeds")]
    for one in found.contestants:
        over, seeds = one.over_seeds, len(one.predictions.seeds)
        shown = [
            plus_minus(over[name]) if over[name].sd is not None else percent(over[name].mean)
            for name in ("war", "uar", "uf1")
        ]
        rows.append((one.name, *shown, "–" if one.name == "control" else str(seeds)))
    units = "people" if found.contestants[0].predictions.by_subject else "clips, people unknown"
    lines = [*columns(rows), f"{counted(found.clips, 'clip')}, {found.units} {units}"]
    for duel in found.duels:
        lines += ["", *_duel(duel)]
    if found.settings:
        lines += ["", "settings that differ:"]
        lines += columns([(f"  {key}", *(_shown(value) for value in values)) for key, values in found.settings.items()])
    elif len(found.contestants) > 1 and found.contestants[-1].name != "control":
        lines += ["", "no setting differs"]
    if found.notes:
        lines += ["", *(f"note: {note}" for note in found.notes)]
    return lines


def _duel(duel: Duel) -> list[str]:
    one, other = duel.first.name, duel.other.name
    lines = [
        f"WAR: {duel.war.sentence(one, other)} (p {_p(duel.war.p)})",
        f"UAR: {duel.uar.sentence(one, other)} (p {_p(duel.uar.p)})",
    ]
    if duel.mcnemar is not None:
        lines.append(f"McNemar p {_p(duel.mcnemar)}, which ignores that clips of one person or film are alike")
    scores = [contestant.predictions.scores for contestant in (duel.first, duel.other)]
    place = {label: row for row, label in enumerate(scores[0].labels)}
    rows = [("  class", one, other, "difference", "95 %", "clips")]
    for label, found in duel.classes.items():
        recalls = [f"{100 * score.recall[place[label]]:.1f}" for score in scores]
        ends = "–" if found.low is None or found.high is None else f"{_points(found.low)} to {_points(found.high)}"
        rows.append((f"  {label}", *recalls, _points(found.value), ends, str(scores[0].truth[place[label]])))
    return [*lines, *columns(rows)]


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:+.1f}".replace("-", "−")


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
