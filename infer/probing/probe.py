"""What a probe found: scores of changed clips beside the unchanged ones, agreement with planted evidence; and the files that keep it.

RUN/probe/probe.json      everything below; docs/probe.md names the keys
RUN/probe/clips.csv       a row for each clip under each seed
RUN/probe/PART.npz        arrays of the clips of a part
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...train.results.paired import Difference
from ...train.runs.files import read_json, write_arrays, write_csv, write_json
from ...train.runs.run import Run
from .evidence import Agreement

FOLDER, FILE, CLIPS = "probe", "probe.json", "clips.csv"
FORMAT, VERSION = "est-probe", 1
INDEX = "frames shuffled"  # the change whose loss is the index
DEFINITION = (
    "temporal-reliance index: WAR of the clips as they are, less the WAR of the same clips with the frames that are shown put in random "
    "order (mean of 5 orders); 0: the model does not use order"
)


@dataclass(frozen=True, kw_only=True)
class Changed:
    """Clips changed in one way."""

    name: str
    text: str
    war: float
    lost: Difference  # unchanged less changed, of the same clips

    def to_json(self) -> dict[str, Any]:
        """Return what probe.json holds."""
        return {"name": self.name, "text": self.text, "war": self.war, "lost": self.lost.to_json()}


@dataclass(frozen=True, kw_only=True)
class WithinPairs:
    """Of the clips that were taken for one of the two classes of their pair, how many are right: 50 % is guessing."""

    of: str  # the model or its control
    pairs: tuple[tuple[str, str], ...]
    clips: int
    pair_right: float  # clips, the mean over seeds
    right: float
    difference: Difference | None  # of the share within pairs to one half

    @property
    def share(self) -> float | None:
        """Return the share of right ones."""
        return self.right / self.pair_right if self.pair_right else None

    def to_json(self) -> dict[str, Any]:
        """Return what probe.json holds."""
        return {
            "of": self.of,
            "pairs": [list(pair) for pair in self.pairs],
            "clips": self.clips,
            "pair_right": self.pair_right,
            "right": self.right,
            "share": self.share,
            "from_half": None if self.difference is None else self.difference.to_json(),
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Probe:
    """Everything that was found."""

    run: Run
    clips: int
    people: str  # counted, in words
    war: float
    changes: tuple[Changed, ...]
    agreements: tuple[Agreement, ...]
    pairs: tuple[WithinPairs, ...]
    planted: Mapping[str, int]  # kind → clips: brief, held, without
    notes: tuple[str, ...]  # what could not be probed, and why
    header: list[str]
    rows: list[list[Any]]
    arrays: Mapping[str, Mapping[str, np.ndarray]]  # of each part

    @property
    def index(self) -> Difference:
        """Return the temporal-reliance index."""
        return next(one.lost for one in self.changes if one.name == INDEX)

    def to_json(self) -> dict[str, Any]:
        """Return what probe.json holds."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "run": str(self.run.path),
            "heading": self.run.facts["heading"],
            "clips": self.clips,
            "people": self.people,
            "seeds": list(self.run.config.seeds),
            "war": self.war,
            "index": {"definition": DEFINITION, **self.index.to_json()},
            "changes": [one.to_json() for one in self.changes],
            "planted": dict(self.planted),
            "agreement": [one.to_json() for one in self.agreements],
            "pairs": [one.to_json() for one in self.pairs],
            "notes": list(self.notes),
        }

    def save(self) -> Path:
        """Write it into the run's folder; probe.json last."""
        folder = self.run.path / FOLDER
        (folder / FILE).unlink(missing_ok=True)
        write_csv(folder / CLIPS, self.header, self.rows)
        for part, arrays in self.arrays.items():
            write_arrays(folder / f"{part}.npz", **arrays)
        write_json(folder / FILE, self.to_json())
        return folder


def read_probe(run: Run) -> dict[str, Any] | None:
    """Read probe.json of a run; nothing where it was not probed."""
    path = run.path / FOLDER / FILE
    return read_json(path) if path.is_file() else None
