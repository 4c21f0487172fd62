"""The page of est cache erase: what is gone, what still names the erased, and the runs that have learnt from them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import UsageError, counted

if TYPE_CHECKING:
    from ...cache.changes.rewriting import Erased
    from ...train.runs.search import Known

RUNS = Path("runs")


@dataclass(frozen=True, kw_only=True)
class Places:
    """The folders in which runs are looked for."""

    below: Path | None  # recursively
    beside: Path | None  # a few levels deep

    @property
    def text(self) -> str:
        """Name them."""
        below = [f"below {self.below}"] if self.below else []
        return " or ".join([*below, *([f"beside the cache (in {self.beside})"] if self.beside else [])])


@dataclass(frozen=True, kw_only=True)
class Runs:
    """What the search for runs found."""

    places: Places
    known: Mapping[Path, Known]  # runs that have learnt from the erased or tested them
    unreadable: list[Path]


def where_to_look(runs: Path | None, cache: Path) -> Places:
    """Return where runs are looked for: in the folder that was named, else below `runs` and beside the cache."""
    if runs is None:
        return Places(below=RUNS if RUNS.is_dir() else None, beside=cache.resolve().parent)
    if not runs.is_dir():
        raise UsageError(
            f"--runs: there is no folder {runs}; nothing is erased.",
            remedy=f"name the folder of the runs; without --runs they are searched for below {RUNS} and beside the cache",
        )
    return Places(below=runs, beside=None)


def look_for_runs(places: Places, erased: Erased, cache: Path) -> Runs:
    """Find the runs that know what was erased from a cache."""
    from ...train.runs.search import runs_that_know

    below = [places.below] if places.below else []
    known, unreadable = runs_that_know(below, erased.known_as, cache, beside=places.beside)
    return Runs(places=places, known=known, unreadable=unreadable)


def erased_data(erased: Erased, runs: Runs) -> dict[str, Any]:
    """Return everything as JSON data."""
    return {
        **{name: value for name, value in vars(erased).items() if name != "known_as"},
        "runs": {str(run): vars(known) for run, known in runs.known.items()},
        "unreadable": runs.unreadable,
        "looked": [str(path) for path in (runs.places.below, runs.places.beside) if path],
    }


def erased_text(cache: Path, erased: Erased, runs: Runs) -> str:
    """Format an erasure as text."""
    what = f"{counted(len(erased.clips), 'clip')} and {counted(len(erased.failures), 'failure')} erased"
    if not erased.clips and not erased.failures:
        what = "no clip and no failure of them was left"
    lines = [f"{what}, {counted(erased.left, 'clip')} left in {cache}, verified"]
    if erased.removed:
        lines.append(f"the bytes of {counted(erased.removed, 'clip')} removed or replaced earlier are gone, too")
    lines += [f"the label {label!r}, which no clip has, is gone, too" for label in erased.labels]
    if erased.features:
        lines.append(
            f"the weights of {', '.join(erased.features)} have learnt from them, and the record of these weights no "
            f"longer lists them: only clips with other weights can be added to this cache"
        )
    lines += [f"still named: {trace}" for trace in erased.traces]
    if any(trace.startswith("the label ") for trace in erased.traces):
        lines.append(
            "  est cache relabel gives the clips of a label another one; erasing the same person again then removes its name"
        )
    if any(not trace.startswith("the label ") for trace in erased.traces):
        lines.append("  names of features, weights, folds and environments stay; only a new extraction is without them")
    lines += _of_runs(runs)
    lines.append("the next est extract adds them again if lists or folders still contain them: remove them there")
    return "\n".join(lines)


def _of_runs(runs: Runs) -> list[str]:
    lines = []
    for run, known in runs.known.items():
        lines.append(f"{run} has learnt from {known.learnt} and tested {known.tested} of them: ")
        lines[-1] += (
            "its models and tables keep that"
            if known.same_cache
            else "its cache is another one: check whether these are the same clips"
        )
    lines += [f"{run} cannot be read: check whether it contains them" for run in runs.unreadable]
    if not runs.known and not runs.unreadable:
        lines.append(
            f"no run {runs.places.text} has learnt from them or tested them; --runs DIR searches another folder"
        )
    if runs.places.below is None:
        lines.append(f"there is no folder {RUNS}; only the folder of the cache was searched")
    return lines
