"""A CSV with a header as a data set: what `est extract LIST.csv` takes, with paths below --root and a check.

Columns and dialects are those of `csvlist`.
"""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import UsageError, quoted
from ..csvlist import LIST_SUFFIXES, listed_id, locate, read_list, segment
from ..folders import natural_key
from .base import Dataset, Entry, Finding, Reading, Request
from .tree import Tree


def read(request: Request) -> Reading:
    """Read the lists."""
    tree = Tree("--dataset csv", request.root)
    if not request.lists:
        raise UsageError(
            "--dataset csv takes the lists as INPUT, found none.",
            remedy=f"est extract list.csv --dataset csv --root {quoted(tree.root)}",
        )
    entries: list[Entry] = []
    findings: list[Finding] = []
    for path in dict.fromkeys(request.lists):
        if path.suffix.lower() not in LIST_SUFFIXES:
            raise UsageError(f"{path}: a list is one of {' '.join(LIST_SUFFIXES)}.", remedy="name the list as INPUT")
        found = read_list(path)
        for row in found.rows:
            place = Path(os.path.normpath(locate(tree.root, row.path)))
            entries.append(
                Entry(
                    id=row.id or listed_id(place, tree.root) + segment(row),
                    path=place,
                    kind="frames" if os.path.isdir(place) else "video",
                    where=f"{path.name}, line {row.line}",
                    label=row.label,
                    subject=row.subject,
                    split=row.split,
                    fold=row.fold,
                    start=row.start,
                    end=row.end,
                )
            )
        if found.unused:
            text = f"columns of {path.name} that are not used"
            findings.append(Finding(kind="columns", text=text, count=len(found.unused), examples=found.unused))
    labels = sorted({entry.label for entry in entries if entry.label is not None}, key=natural_key)
    return Reading(
        layout=", ".join(tree.show(path) for path in request.lists),
        labels=tuple(labels),
        entries=tuple(entries),
        findings=tuple(findings),
    )


CSV = Dataset(
    name="csv",
    title="a CSV with a header",
    labels=(),
    licence="that of the clips on the list",
    layouts=("est extract list.csv --dataset csv --root CLIPS; without --root: est extract list.csv",),
    protocol="the list's columns fold, split or subject",
    read=read,
    media=(),
    is_generic=True,
)
