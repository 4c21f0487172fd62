"""The result of a demo: a row for each set, EST beside the control, and a sentence on what it means."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .demoset import POINTS, DemoSet

if TYPE_CHECKING:
    from ..train.results.results import Results

COLUMNS = ("set", "people", "videos", "frames", "EST", "control", "EST − control, points", "95 % over people")


@dataclass(frozen=True, kw_only=True, eq=False)
class SetReport:
    """The result of one set."""

    of: DemoSet
    videos: int
    frames: int
    subjects: int
    seconds: dict[str, float]  # of each stage
    cpu_seconds: dict[str, float]  # of the cores in each stage
    results: Results
    example: Path  # one of the videos

    @property
    def points(self) -> float:
        """Return by how many points of WAR EST is above the control."""
        control = self.results.control
        assert control is not None
        return 100 * (self.results.scores.war - control.war)

    @cached_property
    def interval(self) -> tuple[float, float] | None:
        """Return the 95 % interval of these points over people; None below five of them."""
        found = self.results.gain
        return None if found is None or found.low is None or found.high is None else (100 * found.low, 100 * found.high)

    def verdict(self) -> str:
        """Return a sentence on whether modelling time helped."""
        if self.points >= POINTS:
            told = f"EST is {self.points:.1f} points above the control, which ignores the order of frames"
            return f"{self.of.name}: {told}: it uses how the clips change over time."
        told = f"EST is not {POINTS:g} points above the control ({self.points:+.1f})"
        why = (
            "it has learnt little from how these clips change over time; more people or epochs may help"
            if self.of.told_by_time
            else "single frames are enough to tell these classes apart"
        )
        return f"{self.of.name}: {told}: {why}."

    def cells(self) -> tuple[str, ...]:
        """Return this set's row of the table."""
        scores, control = self.results.scores, self.results.control
        assert control is not None
        shares = [f"{100 * one.war:.1f} % ({one.right}/{one.total})" for one in (scores, control)]
        gain = self.results.gain
        alike = gain is not None and gain.alike
        ends = (
            "right on exactly the same clips"
            if alike
            else "–"
            if self.interval is None
            else f"{self.interval[0]:+.1f} to {self.interval[1]:+.1f}"
        )
        numbers = (str(self.subjects), str(self.videos), str(self.frames))
        return (self.of.name, *numbers, *shares, f"{self.points:+.1f}", ends)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON data."""
        return {
            "videos": self.videos,
            "frames": self.frames,
            "subjects": self.subjects,
            "seconds": _rounded(self.seconds),
            "cpu_seconds": _rounded(self.cpu_seconds),
            "points_above_control": self.points,
            "points_interval": self.interval and list(self.interval),
            "verdict": self.verdict(),
            **self.results.to_json(),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class DemoReport:
    """The result of a demo."""

    folder: Path
    sets: tuple[SetReport, ...]

    @property
    def seconds(self) -> dict[str, float]:
        """Return the time of each stage, over all sets."""
        return _summed([one.seconds for one in self.sets])

    @property
    def cpu_seconds(self) -> dict[str, float]:
        """Return the CPU seconds of each stage, over all sets."""
        return _summed([one.cpu_seconds for one in self.sets])

    def table(self) -> list[str]:
        """Return the lines of the table."""
        rows = [COLUMNS, *(one.cells() for one in self.sets)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
        return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]

    def predict_command(self) -> str:
        """Write the command line that predicts one of the videos by the run of its set, in windows short enough to follow it."""
        one = self.sets[0]
        windows = ["--window", "0.8", "--stride", "0.2"]
        return shlex.join(["est", "predict", str(one.example), "--run", str(one.results.run.path), *windows])

    def to_json(self) -> dict[str, Any]:
        """Return the JSON data."""
        return {
            "predict": self.predict_command(),
            "folder": str(self.folder),
            "seconds": _rounded(self.seconds),
            "cpu_seconds": _rounded(self.cpu_seconds),
            "sets": {one.of.name: one.to_json() for one in self.sets},
        }


def _summed(of_sets: list[dict[str, float]]) -> dict[str, float]:
    """Add up the stages of all sets, which have the same ones."""
    return {name: sum(one[name] for one in of_sets) for name in of_sets[0]}


def _rounded(seconds: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 1) for name, value in seconds.items()}
