"""Models tested on a cache that none of them has learnt from."""

from __future__ import annotations

from collections.abc import Sequence

from ....errors import UsageError
from ....train.evaluated import Evaluation
from ....train.results.paired import Difference
from ..cells import difference, ends, named, over_seeds
from ..pictures import row_picture
from ..runs import Runs
from ..sheet import Cell, Line
from ..table import Row, Table
from .measured import Measured, compare, conclusions


def expect(runs: Runs, rows: Sequence[Row]) -> None:
    """Refuse to test on nothing, or on a cache without a class that is learnt."""
    if runs.test_cache is None:
        raise UsageError("cross-database tests on a second cache.", remedy="--test-cache OTHER, with the same features")
    here, there = (
        {name for name in cache.clips.label_names if name is not None} for cache in (runs.cache, runs.test_cache)
    )
    if not here & there:
        raise UsageError(
            f"{runs.test_cache.path} has none of the classes of {runs.cache.path}: {', '.join(sorted(there)) or 'no labels'} there, "
            f"{', '.join(sorted(here))} here.",
            remedy="est cache relabel renames classes",
        )


def measure(table: Table, rows: Sequence[Row], runs: Runs) -> Measured:
    """Train the rows, and score them on the other cache."""
    found: dict[str, Evaluation] = {row.label: runs.elsewhere(row) for row in rows}
    differences: dict[tuple[str, str], Difference] = {}
    lines: list[Line] = []
    for row in rows:
        one, rival = found[row.label], table.rival(row)
        scores, by_seed = one.scores, one.by_seed
        line: dict[str, Cell] = {
            "row": named(row.label),
            "WAR": over_seeds("war", by_seed.over_seeds["war"]),
            "95 %": ends("war", by_seed.intervals.get("war")),
            "UAR": over_seeds("uar", by_seed.over_seeds["uar"]),
            f"single models ({len(one.models)})": over_seeds("single_war", one.spread["war"]),
            "all as one": Cell(
                words=f"{100 * scores.war:.2f} % ({scores.right} of {scores.total})",
                values={"ensemble_war": scores.war},
            ),
        }
        if rival in found:
            differences[row.label, rival] = compare(one.by_seed, found[rival].by_seed)
            line[f"against {table.baseline}, points (95 %)"] = difference(
                "difference", differences[row.label, rival], rival
            )
        lines.append(line)
    first = next(iter(found.values()))
    assert runs.test_cache is not None
    notes = [f"Tested on {runs.test_cache.path}: {len(first.predictions)} clips."]
    if first.excluded:
        left = ", ".join(f"{name} {count}" for name, count in first.excluded.items())
        notes.append(f"Left out there, classes that were not learnt: {left}.")
    drawn = [
        (label, one.by_seed.over_seeds["war"].mean, one.by_seed.intervals.get("war")) for label, one in found.items()
    ]
    return Measured(
        lines=lines,
        found=conclusions(differences, asked=tuple(differences)),
        notes=notes,
        pictures={".svg": row_picture(drawn, title=f"{table.number}: {table.title}, WAR")},
    )
