"""What a sweep found: its studies and their trials, as data that JSON can hold.

Nothing here knows Optuna: a page can be written again from sweep.json on a machine that has no optimiser.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Self

from ...cache.dataframe import expect_pandas
from ...errors import EstError

if TYPE_CHECKING:
    import pandas

FORMAT, VERSION = "est-sweep", 1
State = Literal["complete", "pruned", "failed", "running"]


@dataclass(frozen=True, kw_only=True)
class Record:
    """One trial: the settings that were tried, and the value that they reached."""

    number: int
    state: State
    value: float | None = None  # the objective, 0 to 1, higher is better; of a pruned trial its last one
    loss: float | None = None  # on the inner validation part; decides between equal values
    values: Mapping[str, Any] = field(default_factory=dict)  # settings by key: "loop.learning_rate"
    curve: tuple[tuple[int, float], ...] = ()  # (epoch, value)
    epochs: int = 0
    seconds: float = 0.0  # of its steps; where trainings were stacked, its share of theirs
    together: int = 1  # trainings in its stack, itself included
    error: str = ""

    def __post_init__(self) -> None:
        """Bring lists to tuples, so that a record read from JSON equals the one that was written."""
        assert self.together >= 1, self.together
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in self.values.items()}
        object.__setattr__(self, "values", values)
        known = ((epoch, math.nan if value is None else value) for epoch, value in self.curve)  # JSON has null for NaN
        object.__setattr__(self, "curve", tuple((int(epoch), float(value)) for epoch, value in known))

    @property
    def scored(self) -> bool:
        """Return whether it is complete and has a number as its value."""
        return self.state == "complete" and self.value is not None and math.isfinite(self.value)


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """The trials of one study: one outer fold, with the model or with the control."""

    name: str  # "fold1", or "fold1/control"
    fold: str
    control: bool
    learnt: int  # clips that each inner model learns from
    chosen_by: int  # clips of all inner validation parts together, which the objective is of
    tested: int  # clips of the test half, which no trial reads
    records: tuple[Record, ...]

    @property
    def scored(self) -> tuple[Record, ...]:
        """Return the complete trials, which alone can be chosen."""
        return tuple(record for record in self.records if record.scored)

    @property
    def best(self) -> Record | None:
        """Return the trial with the highest value; of equal ones that of the lowest loss, then the earliest."""
        return min(self.scored, key=rank, default=None)

    @property
    def complete(self) -> int:
        """Count the complete trials."""
        return self._count("complete")

    @property
    def pruned(self) -> int:
        """Count the trials that were stopped early."""
        return self._count("pruned")

    @property
    def failed(self) -> int:
        """Count the trials that ended with an error."""
        return self._count("failed")

    @property
    def running(self) -> int:
        """Count the trials without an end: an interrupted sweep has some."""
        return self._count("running")

    @property
    def ended(self) -> int:
        """Count the trials that have ended, whichever way."""
        return len(self.records) - self.running

    @property
    def seconds(self) -> float:
        """Return the time that its trials took."""
        return sum(record.seconds for record in self.records)

    @property
    def per_minute(self) -> float | None:
        """Return how many trials ended per minute of its own time."""
        return 60 * self.ended / self.seconds if self.seconds > 0 else None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what sweep.json holds of a study."""
        facts: dict[str, Any] = {**data, "records": tuple(Record(**record) for record in data["records"])}
        return cls(**facts)

    def _count(self, state: State) -> int:
        return sum(record.state == state for record in self.records)


def rank(record: Record) -> tuple[float, float, int]:
    """Return what complete trials are sorted by, the best first."""
    assert record.value is not None
    known = record.loss is not None and math.isfinite(record.loss)
    return (-record.value, record.loss if known and record.loss is not None else math.inf, record.number)


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep: how it searched, its studies, and what the chosen settings scored where they were trained again."""

    heading: str
    cache: str
    models: tuple[str, ...]  # titles
    objective: str
    sampler: str
    pruner: str
    trials: int  # asked for, per study
    space: tuple[str, ...]  # in words, a line per setting
    notes: tuple[str, ...] = ()
    studies: tuple[StudyRecord, ...]
    retrained: Mapping[str, Any] | None = None  # after --retrain-best: folds, seeds, scores, differences, note
    seconds: float
    ended: str = ""  # why it ended before all trials, in a sentence

    @property
    def folds(self) -> tuple[str, ...]:
        """Name the outer folds, in order."""
        return tuple(dict.fromkeys(study.fold for study in self.studies))

    def study(self, fold: str, *, control: bool = False) -> StudyRecord | None:
        """Return the study of a fold, of the model or of the control."""
        return next((one for one in self.studies if one.fold == fold and one.control == control), None)

    def studies_of(self, *, control: bool) -> tuple[StudyRecord, ...]:
        """Return the studies of the model, or those of the control."""
        return tuple(one for one in self.studies if one.control == control)

    def to_pandas(self) -> pandas.DataFrame:
        """Return a row for each trial, with a column for each setting that was searched; needs pandas."""
        told = ("number", "state", "value", "loss", "epochs", "seconds", "error")
        return expect_pandas().DataFrame(
            [
                {"study": study.name, **{name: getattr(one, name) for name in told}, **one.values}
                for study in self.studies
                for one in study.records
            ]
        )

    def to_json(self) -> dict[str, Any]:
        """Return what sweep.json holds: numbers that are none are null, which JSON can write."""
        return {"format": FORMAT, "version": VERSION, **_writable(asdict(self))}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_json` returned."""
        if data.get("format") != FORMAT:
            raise EstError(f'This is no sweep: its format is {data.get("format")!r}, expected "{FORMAT}".')
        if data.get("version") != VERSION:
            raise EstError(
                f"The sweep has version {data.get('version')}; this est reads version {VERSION}.",
                remedy="pip install --upgrade est-fer",
            )
        facts: dict[str, Any] = {key: value for key, value in data.items() if key not in ("format", "version")}
        facts |= {name: tuple(facts[name]) for name in ("models", "space", "notes")}
        facts["studies"] = tuple(StudyRecord.from_json(study) for study in data["studies"])
        return cls(**facts)


def _writable(value: Any) -> Any:
    """Return what JSON can write: lists, and null for NaN and infinities."""
    if isinstance(value, Mapping):
        return {str(key): _writable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
