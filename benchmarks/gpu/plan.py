"""What is measured on a GPU, the most valuable first: for each row its group, its budget of seconds and its goal.

A group is a module of `rows/`; its rows run in one process, and share what they prepare. Nothing here imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

LIMIT = 480  # seconds of a whole run
START = 45  # seconds more, for the first row of a process: importing torch and waking the card


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a row's value is to reach."""

    value: float
    better: Literal["lower", "higher"]

    def reached(self, value: float) -> bool:
        """Say whether it is reached."""
        return value <= self.value if self.better == "lower" else value >= self.value

    def __str__(self) -> str:
        return f"{'≤' if self.better == 'lower' else '≥'} {self.value:g}"


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A row that is to be measured."""

    group: str
    name: str
    title: str
    seconds: int  # its budget; what takes longer is stopped
    goal: Goal | None = None


def at_most(value: float) -> Goal:
    """Return a goal that smaller values reach."""
    return Goal(value=value, better="lower")


def at_least(value: float) -> Goal:
    """Return a goal that larger values reach."""
    return Goal(value=value, better="higher")


def _group(group: str, *rows: tuple[str, str, int] | tuple[str, str, int, Goal]) -> tuple[Planned, ...]:
    return tuple(
        Planned(group=group, name=name, title=title, seconds=seconds, goal=goal[0] if goal else None)
        for name, title, seconds, *goal in rows
    )


PLAN = (
    *_group(
        "step",
        ("copy", "a copy on the card, bytes read and written", 20),
        ("eager", "EST step, batch 8, bf16: × the floor of Adam's bytes", 20, at_most(3)),
        ("graph", "the same with loop.graph", 25, at_most(3)),
        ("graph_gain", "loop.graph: × as fast as without it", 10, at_least(1)),
        ("graph_fp32", "EST step, batch 8, fp32, with loop.graph: × the floor", 25, at_most(3)),
    ),
    *_group("tests", ("gpu", "tests marked gpu that fail", 90, at_most(0))),
    *_group(
        "extraction",
        ("decode", "decode alone, on all cores", 60),
        ("crop", "crop alone, on all cores", 30),
        ("detect", "detect alone, every third frame", 30),
        ("encode", "encode alone", 30),
        ("whole", "extraction, from its slowest stage: share", 90, at_least(0.9)),
        ("plain", "extraction: × the plain loop, batched on the same device", 60, at_least(5)),
    ),
    *_group(
        "epoch",
        ("eager", "an epoch of DFEW's size (11,697 clips), bf16: seconds", 60, at_most(2)),
        ("graph", "the same with loop.graph: seconds", 45, at_most(2)),
        ("outside", "share of the epoch outside of the step, eager", 30, at_most(0.15)),
        ("outside_graph", "the same with loop.graph", 30, at_most(0.15)),
    ),
    *_group(
        "trials",
        ("gru", "16 trainings of a GRU of 64 at once: × one after another", 40, at_least(8)),
        ("est", "16 trainings of EST, width 128, 1 layer, at once: × one after another", 40, at_least(8)),
    ),
    *_group(
        "finetuning",
        ("layer4", "fine-tuning layer4 from maps: share of the bare step's speed", 75, at_least(0.95)),
        ("all", "fine-tuning all from crops: share of the bare step's speed", 60, at_least(0.95)),
    ),
    *_group("prediction", ("videos", "prediction on videos: × the speed of extraction, start included", 90)),
)
