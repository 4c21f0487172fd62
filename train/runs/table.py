"""A table of runs: what each was trained on, its scores, and whether it is complete. Nothing of torch is imported."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from ...cache.watch import Progress, Watch
from ...errors import EstError, UsageError, quoted
from ..config.configfile import parse_value, to_flat
from ..folds.published import named
from .run import CONFIG, FACTS, RESULT, Run
from .search import find_runs

Status = Literal["complete", "training", "unfinished", "damaged"]
COLUMNS = ("name", "data", "model", "protocol", "war", "uar", "status", "age")
ORDERS = {"age": False, "name": False, "data": False, "model": False, "protocol": False, "war": True, "uar": True}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One run. Scores are means over seeds, in shares; None where there is none."""

    path: Path
    name: str  # below the folder that was looked through
    status: Status
    begun: datetime
    data: str = ""  # the cache's file name
    model: str = ""
    protocol: str = ""
    war: float | None = None
    war_sd: float | None = None  # over seeds
    uar: float | None = None
    uar_sd: float | None = None
    clips: int | None = None
    seeds: int = 0
    folds: int = 0
    parts: int = 0  # that are scored, of seeds × folds
    leaks: bool = False
    permuted: bool = False  # its labels were, for est audit
    problem: str = ""  # what is damaged
    files: int | None = None  # that match their checksums; None where they were not compared, or there are none
    settings: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON data."""
        found = asdict(self)
        return {**found, "path": str(self.path), "begun": self.begun.isoformat(timespec="seconds")}


def list_runs(root: Path | str = "runs") -> list[Row]:
    """Return every run in a folder and below it, the newest first; those that cannot be opened too.

    >>> [(row.name, row.status, row.clips) for row in est.list_runs("runs") if row.name == "first"]
    [('first', 'complete', 4)]
    """
    root = Path(root)
    if not root.is_dir():
        raise UsageError(
            f"There is no folder {root}.", remedy="est train --cache CACHE makes runs/; est runs DIR names another"
        )
    found = [_row(root, path) for path in find_runs(root)]
    if not found:
        raise UsageError(
            f"There is no run in {root} or below it.", remedy=f"est train --cache CACHE --out {quoted(root / 'first')}"
        )
    return sort_runs(found, "age")


def sort_runs(rows: Iterable[Row], by: str) -> list[Row]:
    """Sort by a column: the best score, the latest run, or the first in the alphabet at the top."""
    if by not in ORDERS:
        raise UsageError(f"Runs are sorted by {', '.join(ORDERS)}; found {by!r}.", remedy="--sort war")
    by_age = sorted(rows, key=lambda row: (-row.begun.timestamp(), row.name))
    if by == "age":
        return by_age
    if not ORDERS[by]:
        return sorted(by_age, key=lambda row: getattr(row, by))
    scores = [(getattr(row, by), row) for row in by_age]
    return [row for _, row in sorted(scores, key=lambda pair: -1.0 if pair[0] is None else pair[0], reverse=True)]


def filter_runs(rows: Sequence[Row], conditions: Iterable[str]) -> list[Row]:
    """Keep the runs that meet all conditions: KEY=VALUE, a key a column or a setting such as loop.epochs."""
    chosen = list(rows)
    statuses = get_args(Status)
    for text in conditions:
        key, equals, value = text.partition("=")
        columns = ("name", "data", "model", "protocol", "status")
        settings = {name for row in rows for name in row.settings or ()}
        if not equals or key not in (*columns, *settings):
            raise UsageError(
                f"--where takes KEY=VALUE, a key one of {', '.join(columns)} or a setting; found {text!r}.",
                remedy="--where model=gru --where loop.epochs=30",
            )
        if key == "status" and value not in statuses:
            raise UsageError(f"A status is {', '.join(statuses)}; found {value!r}.", remedy="--where status=complete")
        if key in columns:
            chosen = [row for row in chosen if value in (getattr(row, key), row.path.name)]
        else:
            wanted = parse_value(value)
            chosen = [row for row in chosen if row.settings and _same(row.settings.get(key), wanted)]
    return chosen


def _same(found: Any, wanted: Any) -> bool:
    """Compare a setting with a value from a command line."""
    if isinstance(found, tuple):
        text = ",".join(map(str, found))
        return list(found) == (wanted if isinstance(wanted, list) else [wanted]) or text == str(wanted).replace(" ", "")
    return found == wanted or str(found) == str(wanted)


def _row(root: Path, path: Path) -> Row:
    name = str(path.relative_to(root)) if path != root else path.resolve().name
    begun = datetime.fromtimestamp(0, UTC)
    try:
        begun = _begun(path)
        run = Run.open(path)
        return _opened(run, name, begun)
    except (
        EstError,
        KeyError,
        TypeError,
        AttributeError,
        ValueError,
        RecursionError,
        OSError,
    ) as error:  # damaged, or gone
        problem = (
            error.message
            if isinstance(error, EstError)
            else f"one of its JSON files is damaged ({type(error).__name__})"
        )
        return Row(path=path, name=name, status="damaged", begun=begun, problem=problem)


def _opened(run: Run, name: str, begun: datetime) -> Row:
    facts = run.facts
    complete = run.complete
    scores: dict[str, Any] = {}
    if complete:
        metrics = run.metrics()
        over = metrics.get("over_seeds", {})
        for score in ("war", "uar"):
            scores[score] = _share(metrics["pooled"][score]["value"])
            scores[f"{score}_sd"] = _share(over.get(score, {}).get("sd"))
        seeds = len(run.config.seeds)
        # runs of before 2026-11-29 counted a clip once for each seed
        scores["clips"] = metrics.get("clips", metrics["pooled"]["war"]["total"] // seeds)
    return Row(
        path=run.path,
        name=name,
        status="complete" if complete else "training" if run.busy else "unfinished",
        begun=begun,
        data=Path(facts["cache"]["path"]).name,
        model=run.config.model.name,
        protocol=named(run.config.protocol.kind, facts["protocol"]["kind"]),
        seeds=len(run.config.seeds),
        folds=len(facts["protocol"]["folds"]),
        parts=sum((run.part(part) / RESULT).is_file() for part in run.parts),
        leaks=bool(facts.get("leaks")),
        permuted=run.permuted,
        settings=to_flat(run.config),
        **scores,
    )


def verify_runs(rows: Sequence[Row], watch: Watch | None = None) -> list[Row]:
    """Compare all files with their checksums, where a run has some: one with a file that differs or is gone is damaged."""
    found: list[Row] = []
    for row in rows:
        found.append(row if row.status == "damaged" else _verified(row))
        if watch is not None:
            watch.progress(Progress(what="Verifying", unit="runs", done=len(found), total=len(rows)))
    return found


def _verified(row: Row) -> Row:
    try:
        run = Run.open(row.path)
        problems = run.verify()
    except EstError as error:  # damaged meanwhile
        return replace(row, status="damaged", problem=error.message)
    if problems:
        return replace(row, status="damaged", problem="; ".join(problems.values()))
    if row.status != "complete":
        return row
    return replace(row, files=1 + len(run.digests) if run.digests else None)  # run.json is the one more


def _share(value: Any) -> float | None:
    """Return a score, or refuse what is none."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is not a score")
    return float(value)


def _begun(path: Path) -> datetime:
    """Return when a run was started: its configuration is written once."""
    file = path / CONFIG if (path / CONFIG).exists() else path / FACTS
    return datetime.fromtimestamp(file.stat().st_mtime, UTC)
