"""`est runs`: the trained runs, their scores, and what is not complete."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ...errors import counted, some
from ..options import examples
from ..screen import Screen, columns

if TYPE_CHECKING:
    from ...train.runs.table import Row

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="A folder of runs; those below it are listed, too.")]
Sort = Annotated[
    Literal["age", "war", "uar", "name", "data", "model", "protocol"],
    typer.Option("--sort", help="The order: age is the newest first, scores the best first."),
]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="KEY=VALUE",
        help="Only runs that match: name, data, model, protocol, status, or a setting (loop.epochs=30); may be repeated.",
    ),
]
HEADER = ("run", "data", "model", "protocol", "WAR", "UAR", "clips", "status", "age")


Verify = Annotated[
    bool, typer.Option("--verify", help="Compare every file of complete runs with its checksum; exit 1 if one differs.")
]


@examples("est runs", "est runs --sort war --where model=gru", "est runs --verify")
def runs(
    screen: Screen, *, folder: Folder = Path("runs"), sort: Sort = "age", where: Where = None, verify: Verify = False
) -> int:
    """List runs: data, model, protocol, scores, status and age."""
    from ...train.runs.table import filter_runs, list_runs, sort_runs, verify_runs

    found = list_runs(folder)
    rows = sort_runs(filter_runs(found, where or ()), sort)
    if verify:
        with screen.watching() as watch:
            rows = verify_runs(rows, watch)
    lines = [page(rows, len(found)), *(verified(rows) if verify else ())]
    screen.result({"folder": str(folder), "runs": [row.to_json() for row in rows]}, "\n".join(lines))
    return int(verify and any(row.status == "damaged" for row in rows))


def verified(rows: Sequence[Row]) -> list[str]:
    """Say of how many runs all files are as they were written, and of which nothing is known."""
    known = [row for row in rows if row.files is not None]
    without = [row.name for row in rows if row.status == "complete" and row.files is None]
    unfinished = [row.name for row in rows if row.status in ("training", "unfinished")]
    damaged = sum(row.status == "damaged" for row in rows)
    files = counted(sum(row.files or 0 for row in known), "file")
    again = (
        "est train --resume --out RUN writes damaged tables of it again, and says how a damaged part is trained again"
    )
    return [
        f"verified: {files} of {counted(len(known), 'run')} match their checksums, {damaged} damaged",
        *([again] if damaged else []),
        *([f"without checksums, of before 2026-11-30: {some(without)}"] if without else []),
        *([f"not complete, so without checksums yet: {some(unfinished)}"] if unfinished else []),
    ]


def page(rows: Sequence[Row], total: int) -> str:
    """Format runs as a table, and below it what is damaged."""
    now = datetime.now(UTC)
    cells = [HEADER, *(_cells(row, now) for row in rows)]
    lines = columns(cells)
    lines += [f"{row.name}: {row.problem}" for row in rows if row.problem]
    if len(rows) < total:
        lines.append(f"{len(rows)} of {counted(total, 'run')}")
    return "\n".join(lines)


def _cells(row: Row, now: datetime) -> tuple[str, ...]:
    done = f" {row.parts} of {row.seeds * row.folds}" if row.status in ("training", "unfinished") else ""
    seeds = f" × {row.seeds} seeds" if row.seeds > 1 else ""
    clips = "–" if row.clips is None else f"{row.clips}{seeds}"
    scores = (_score(row.war, row.war_sd), _score(row.uar, row.uar_sd))
    leak = ", LEAK" * row.leaks + ", permuted labels" * row.permuted
    return (
        *(row.name, row.data, row.model, row.protocol, *scores, clips),
        f"{row.status}{done}{leak}",
        age((now - row.begun).total_seconds()),
    )


def _score(mean: float | None, sd: float | None) -> str:
    if mean is None:
        return "–"
    return f"{100 * mean:.2f}" if sd is None else f"{100 * mean:.2f} ± {100 * sd:.2f}"


def age(seconds: float) -> str:
    """Return how long ago something was, in its largest unit."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(0.0, seconds):.0f} s"
