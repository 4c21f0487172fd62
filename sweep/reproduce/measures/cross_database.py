"""Models tested on a cache that none of them has learnt from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ....cache import Cache, FeatureRecipe
from ....errors import UsageError
from ....train.config.config import TrainConfig
from ....train.evaluated import Evaluation
from ....train.folds.annotations import Annotations
from ....train.folds.duplicates import find_duplicates_elsewhere
from ....train.folds.leaks import ALLOW, describe_leaks, find_in_halves, seen_by_feature
from ....train.folds.protocols import Plan
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
    config = runs.config(rows[0])
    expect_unseen(runs.cache, runs.test_cache, config, runs.plan, here & there)


def expect_unseen(cache: Cache, other: Cache, config: TrainConfig, plan: Plan, classes: set[str]) -> None:
    """Refuse, before a training, features that are made with other settings, and clips that are learnt from."""
    if other.path.resolve() == cache.path.resolve():
        raise UsageError(
            f"{other.path} is the training cache itself.", remedy="--test-cache OTHER, whose clips are others"
        )
    reads = config.feature
    made = cache.recipes.features.get(reads)
    like = [name for name, one in other.recipes.features.items() if made is not None and not _differences(made, one)]
    if made is not None and not like:
        there = other.recipes.features.get(reads)
        how = f"differ in {', '.join(_differences(made, there))}" if there is not None else "are not there"
        raise UsageError(
            f"The models learn from the features {reads} of {cache.path}, and those of {other.path} {how}.",
            remedy="--test-cache OTHER, extracted with the same weights and settings; or --feature NAME that both caches have",
        )
    if config.allow_leak:
        return
    table, learning = Annotations.from_cache(other), Annotations.from_cache(cache)
    rows = np.array(
        [row for row, code in enumerate(table.label.tolist()) if code >= 0 and table.labels[code] in classes], int
    )
    learnt = np.unique(np.concatenate([half for fold in plan.folds for half in (fold.train, fold.val)]))
    seen = [one for name in like[:1] for one in seen_by_feature(other, name)]
    leaks = [
        *find_in_halves(seen, {("", "scored"): rows}, table, by_subject=False),
        *find_duplicates_elsewhere(other, rows, cache, learning.ids[learnt].tolist()),
    ]
    if leaks:
        raise UsageError(
            f"{other.path} is not independent of the training data: {'; '.join(describe_leaks(leaks))}.",
            remedy=f"--test-cache OTHER, whose clips are others; or {ALLOW}",
        )


def _differences(one: FeatureRecipe, other: FeatureRecipe) -> list[str]:
    """Name what features differ in that decides what models read."""
    return [name for name in one.differences(other) if name not in ("parent", "trained_on", "fold", "cross_fit")]


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
