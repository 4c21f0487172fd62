"""Where runs lie: all below a folder, through links too; and which of them know some clips. Nothing of torch is imported."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from ...errors import EstError
from .run import FACTS, PARTS, Run


def find_runs(root: Path, *, levels: int | None = None) -> list[Path]:
    """Return the folders of all runs below a folder, itself included, each once, so many levels deep; links are followed."""
    found, seen = [], set()
    for folder, inner, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link in a circle, or two to one place
            inner.clear()
            continue
        seen.add(real)
        deep = len(Path(folder).relative_to(root).parts)
        inner[:] = sorted(name for name in inner if name != PARTS and (levels is None or deep < levels))
        if FACTS in files:
            found.append(Path(folder))
    return found


LEVELS = 3  # below the folder beside which runs are looked for: an audit's lie there


@dataclass(frozen=True, kw_only=True)
class Known:
    """What a run knows of some clips."""

    learnt: int
    tested: int
    same_cache: bool  # else its cache is, or was, another one, whose clips may have the same ids


def runs_that_know(
    roots: Iterable[Path], ids: Collection[str], cache: Path, *, beside: Path | None = None
) -> tuple[dict[Path, Known], list[Path]]:
    """Return the runs that know clips of some ids, and those that cannot be read: below folders, and near `beside`.

    `cache` is the one that has the clips: others may have clips of the same ids.
    """
    found: dict[Path, Known] = {}
    unreadable: list[Path] = []
    there = [folder for root in roots for folder in find_runs(root)]
    there += find_runs(beside, levels=LEVELS) if beside else []
    for folder in sorted({path.resolve(): path for path in sorted(there, reverse=True)}.values()):
        try:
            run = Run.open(folder)
            same = Path(run.facts["cache"]["path"]).resolve() == cache.resolve()
            halves = run.halves().values()
            learnt = {one for half in halves for name in ("train", "val") for one in half[name]} & set(ids)
            tested = {one for half in halves for one in half["test"]} & set(ids)
            if learnt or tested:
                found[run.path] = Known(learnt=len(learnt), tested=len(tested), same_cache=same)
        except (EstError, KeyError, TypeError, AttributeError):  # of another release, or damaged
            unreadable.append(folder)
    return found, unreadable
