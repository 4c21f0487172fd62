"""`est probe`: does a run's model use time, and the right time?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...errors import UsageError, counted
from ..options import examples
from ..panels import MACHINE
from ..screen import Screen, columns

if TYPE_CHECKING:
    from ...infer.probing.probe import Probe
    from ...train.results.paired import Difference

RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="The folder that est train made.")]
CachePath = Annotated[
    Path | None, typer.Option("--cache", "-c", help="Where the run's cache is now. [default: where it was]")
]
Pair = Annotated[
    list[str] | None,
    typer.Option(
        "--pair", metavar="A=B", help="Two classes that differ only in their course over time; may be repeated."
    ),
]
Windows = Annotated[
    bool,
    typer.Option("--windows/--no-windows", help="Delete each window of each clip, too; this takes most of the time."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.", rich_help_panel=MACHINE)]


@examples("est probe runs/mine", "est probe runs/mine --pair smile-posed=smile-spontaneous --no-windows")
def probe(
    screen: Screen,
    *,
    run: RunPath,
    cache: CachePath = None,
    pair: Pair = None,
    windows: Windows = True,
    device: Device = "auto",
) -> int:
    """Test whether a run's score needs the order of frames. And whether attention and deletion point at the planted moment."""
    from ...infer.probing.probing import probe_run

    with screen.watching() as watch:
        found = probe_run(run, cache, pairs=parse_pairs(pair or ()), windows=windows, device=device, watch=watch)
    folder = found.save()
    screen.result(found.to_json(), "\n".join([*lines(found), f"written to {folder}"]))
    return 0


def parse_pairs(texts: list[str] | tuple[str, ...]) -> list[tuple[str, str]]:
    """Read A=B."""
    found = []
    for text in texts:
        one, equals, other = text.partition("=")
        if not (one and equals and other):
            raise UsageError(f"--pair is A=B, found {text!r}.", remedy="--pair smile-posed=smile-spontaneous")
        found.append((one, other))
    return found


def lines(found: Probe) -> list[str]:
    """Format a probe as text."""
    from ...infer.probing.evidence import CHANCE, MEASURES

    rows = [["clips shown", "WAR", "lost, points", "95 %"], ["as they are", _percent(found.war), "", ""]]
    rows += [[one.name, _percent(one.war), *_lost(one.lost)] for one in found.changes]
    index = found.index
    shown = [
        found.run.facts["heading"],
        f"{found.run.path}: {counted(found.clips, 'clip')} of {found.people}",
        *columns(rows),
        f"temporal-reliance index {_points(index.value)} points (WAR lost where the frames shown are in random order)",
    ]
    for one in found.pairs:
        ends = _ends(one.difference, 0.5)
        share = "–" if one.share is None else _percent(one.share)
        shown.append(
            f"within {len(one.pairs)} temporal pairs, {one.of}: {share} ({one.right:g}/{one.pair_right:g}; 95 % "
            f"{ends}); guessing 50.0 %"
        )
    if found.agreements:
        table = [["planted evidence", "measure", "AUC", "95 %", "clips", "people"]]
        for one in found.agreements:
            ends = "–" if one.low is None or one.high is None else f"{one.low:.2f} to {one.high:.2f}"
            table.append([one.kind, one.measure, f"{one.auc:.2f}", ends, str(one.clips), str(one.people)])
        table.append(["", "random", f"{CHANCE:.2f}", "", "", ""])
        shown += [
            *columns(table),
            *(f"  {name}: {MEASURES[name]}" for name in dict.fromkeys(a.measure for a in found.agreements)),
        ]
    return [*shown, *found.notes]


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(share: float) -> str:
    return f"{round(100 * share, 1) + 0.0:.1f}".replace("-", "−")


def _lost(lost: Difference) -> list[str]:
    if lost.low is None or lost.high is None:
        return [_points(lost.value), "–"]
    return [_points(lost.value), f"{_points(lost.low)} to {_points(lost.high)}"]


def _ends(difference: Difference | None, around: float) -> str:
    if difference is None or difference.low is None or difference.high is None:
        return "–"
    low, high = max(around + difference.low, 0.0), min(around + difference.high, 1.0)
    return f"{_points(low)} to {_points(high)}"
