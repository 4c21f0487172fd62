"""How an import ended."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...cache.clip import Failure
from ...errors import counted, quoted, some
from .frames import ClipRows

SHOWN = 20  # failures and changes that are named to people


@dataclass(kw_only=True)
class ImportReport:
    """What an import did."""

    out: Path
    feature: str
    filling: bool = False
    clips: int = 0
    frames: int = 0
    windows: int = 0
    unchanged: int = 0  # clips that were there before
    relabelled: list[str] = field(default_factory=list)
    not_here: list[str] = field(default_factory=list)  # clips of the cache that SOURCE and the lists no longer have
    outdated: list[str] = field(default_factory=list)  # clips that failed now and keep their earlier rows
    failures: list[Failure] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    warnings: list[str] = field(default_factory=list)

    def add(self, rows: ClipRows) -> None:
        """Count a clip."""
        self.clips += 1
        self.frames += len(rows.state)
        self.windows += 0 if rows.windows is None else len(rows.windows.start)
        self.notes.update(rows.notes)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "out": str(self.out),
            "feature": self.feature,
            "clips": self.clips,
            "frames": self.frames,
            "windows": self.windows,
            "unchanged": self.unchanged,
            "relabelled": self.relabelled,
            "not_here": self.not_here,
            "outdated": self.outdated,
            "notes": dict(self.notes),
            "failures": [{"id": one.id, "path": one.path, "error": one.error} for one in self.failures],
        }

    def lines(self) -> list[str]:
        """Format it as text."""
        frames = counted(self.frames, "frame")
        rows = f"{counted(self.windows, 'window')} of {frames}" if self.windows else frames
        lines = [f"{counted(self.clips, 'clip')}, {rows}: {self.feature} of {self.out}"]
        if self.unchanged:
            lines.append(f"{counted(self.unchanged, 'clip', 'were')} there already")
        lines += [f"relabelled {change}" for change in self.relabelled[:SHOWN]]
        if self.not_here:
            lines.append(
                f"{counted(len(self.not_here), 'clip')} of the cache without a file here, kept: "
                f"{some(map(repr, self.not_here))} (est cache drop {quoted(self.out)} ID removes one)"
            )
        if self.outdated:
            lines.append(
                f"{counted(len(self.outdated), 'clip')} failed now, and the rows of an earlier import stay: "
                f"{some(map(repr, self.outdated))}"
            )
        lines += [f"{what}: {count}" for what, count in self.notes.items()]
        lines += [f"failed {one.id}: {one.error}" for one in self.failures[:SHOWN]]
        if (more := len(self.failures) - SHOWN) > 0:
            lines.append(f"and {more} more failed (est cache info names them)")
        return lines
