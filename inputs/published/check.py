"""The check of a data set: what is published, what the lists name, what lies on the disk, and everything that does not fit.

It refuses nothing: what cannot be read in a right way was refused before. It drops nothing either: a clip without files is on record as a
failure, so that scores count it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import Dataset, Entry, Finding, Reading

ON_RECORD = ("missing", "unreadable")  # findings that a cache has anyway, as failures


@dataclass(frozen=True, kw_only=True)
class CountRow:
    """One count: published (several where works differ), on the lists, with files."""

    name: str
    published: tuple[int, ...]
    listed: int
    present: int

    @property
    def differs(self) -> bool:
        """Return whether the lists have another count than everybody."""
        return bool(self.published) and self.listed not in self.published


@dataclass(frozen=True, kw_only=True)
class Check:
    """What is told about a data set before anything is extracted."""

    dataset: Dataset
    root: Path
    layout: str
    rows: tuple[CountRow, ...]
    findings: tuple[Finding, ...]

    def record(self) -> dict[str, Any]:
        """Return what a cache keeps of it: numbers, no names."""
        findings: Counter[str] = Counter()
        for found in self.findings:
            if found.kind not in ON_RECORD:
                findings[found.kind] += found.count
        return {
            "name": self.dataset.name,
            "listed": {row.name: row.listed for row in self.rows},
            "findings": dict(findings),
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "name": self.dataset.name,
            "title": self.dataset.title,
            "root": str(self.root),
            "layout": self.layout,
            "protocol": self.dataset.protocol,
            "counts": [
                {"name": row.name, "published": list(row.published), "listed": row.listed, "present": row.present}
                for row in self.rows
            ],
            "findings": [
                {
                    "kind": f.kind,
                    "text": f.text,
                    "count": f.count,
                    "examples": list(f.examples),
                    "expected": f.is_expected,
                }
                for f in self.findings
            ],
        }


def count_rows(
    reading: Reading, present: Sequence[Entry], published: Mapping[str, tuple[int, ...]]
) -> tuple[CountRow, ...]:
    """Count clips, classes, splits, folds and subjects, on the lists and with files."""
    listed, there = _counts(reading.entries), _counts(present)
    some_have_none = listed["labelled clips"] != listed["clips"]
    names = ["clips", *(["labelled clips"] if some_have_none or "labelled clips" in published else [])]
    names += [f"class {label}" for label in reading.labels]
    names += [name for name in listed if name.startswith("split ")]
    names += sorted(
        (name for name in listed if name.startswith("fold ")), key=lambda name: int(name.split()[1].rstrip(","))
    )
    names += [name for name in published if name not in names]
    names += ["subjects"] if listed["subjects"] and "subjects" not in names else []
    return tuple(
        CountRow(name=name, published=published.get(name, ()), listed=listed[name], present=there[name])
        for name in names
    )


def differing(rows: Iterable[CountRow]) -> list[Finding]:
    """Return which counts are not the published ones."""
    wrong = [row for row in rows if row.differs]
    if not wrong:
        return []
    examples = [f"{row.name} {row.listed} (published {' or '.join(map(str, row.published))})" for row in wrong]
    text = f"{len(wrong)} counts are not the published ones"
    return [Finding(kind="counts", text=text, count=len(wrong), examples=tuple(examples))]


def _counts(entries: Sequence[Entry]) -> Counter[str]:
    found: Counter[str] = Counter()
    for entry in entries:
        found["clips"] += 1
        found["labelled clips"] += entry.label is not None
        if entry.label is not None:
            found[f"class {entry.label}"] += 1
        if entry.split:
            found[f"split {entry.split}"] += 1
        if entry.fold >= 0:
            found[f"fold {entry.fold}, tested"] += 1
        if entry.database:
            found[f"database {entry.database}"] += 1
            found[f"database {entry.database}, {entry.label}"] += 1
    found["subjects"] = len({entry.subject for entry in entries if entry.subject})
    people = {(entry.database, entry.subject) for entry in entries if entry.database and entry.subject}
    for database, _ in people:
        found[f"database {database}, subjects"] += 1
    return found
