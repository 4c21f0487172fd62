"""What `evaluate` found: scores of a run's models on their test halves or on another cache, as lines, JSON, tables and LaTeX."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..cache import Cache
from ..errors import UsageError, some
from .folds.leaks import Leak
from .folds.published import named, results_of
from .results.details import Details
from .results.groups import HEADER, Grouping
from .results.megc import MegcTable, table_of_run
from .results.metrics import AnswerScore, Scores, Spread
from .results.pages.latex import latex_table
from .results.predictions import Predictions, typed_frame
from .results.results import FORMAT, VERSION, class_table, confusion_table, score_table
from .runs.files import read_json, write, write_csv, write_json
from .runs.run import FACTS, MEGC, Run

if TYPE_CHECKING:
    import pandas

MEAN = "mean"  # of all models, in the place of a part


@dataclass(frozen=True, kw_only=True)
class Change:
    """How the clips differ from what they are."""

    shuffle: bool = False  # snippets in the model's orders
    zero: tuple[int, int] | Literal["middle"] | None = None  # unified frames that show a black crop
    start: int | None = None  # of the window

    def describe(self, black: tuple[int, int] | None = None) -> str:
        """Say it in a few words, and of how many frames shown how many are black."""
        words = ["snippets shuffled"] if self.shuffle else []
        share = f" ({black[0]} of the {black[1]} frames shown)" if black else ""
        if self.zero == "middle":
            words.append(f"the middle snippet's span black{share}")
        elif self.zero is not None:
            words.append(f"frames {self.zero[0]} to {self.zero[1] - 1} black{share}")
        if self.start is not None:
            words.append(f"from frame {self.start}")
        return ", ".join(words) or "the test view"


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """The results of a run's models."""

    run: Run
    cache: Path
    command: str  # that does the same
    what: str
    black: tuple[int, int] | None  # of the frames that a clip shows, how many are black
    own: bool  # the run's own test halves
    models: dict[str, Scores]  # of each part
    model_intervals: dict[str, dict[str, tuple[float, float]]]  # of each part
    predictions: Predictions  # on the parts' own halves; elsewhere by the models' mean probabilities
    by_seed: Predictions  # elsewhere those of each seed, by the mean probabilities of its folds' models
    spread: dict[str, Spread]  # of war and uar, over the models
    answers: tuple[AnswerScore, ...]  # to further questions of the model, on shuffled clips
    groups: tuple[Grouping, ...]  # by each column that was asked for
    leaks: tuple[Leak, ...]  # of what is scored, and allowed
    excluded: dict[str, int]  # clips left out, by a class that the run lacks
    unlabelled: int
    header: list[str]  # of predictions.csv
    rows: list[list[Any]]
    details: Mapping[str, Details]  # of each part; of the run's own clips as they are

    @property
    def scores(self) -> Scores:
        """Return the scores, on the run's own halves the mean over its seeds."""
        return self.predictions.scores

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """Return the 95 % interval of each score over people or clips."""
        return self.predictions.intervals

    @property
    def megc(self) -> MegcTable | None:
        """Return the table of MEGC 2019, of a protocol that has it: of the run's own clips, shown as they are."""
        return table_of_run(self.run, self.predictions) if self.published else None

    @property
    def published(self) -> bool:
        """Return whether published results are shown with these: of the run's own clips, shown as they are."""
        return self.own and self.what == Change().describe()

    def to_pandas(self) -> pandas.DataFrame:
        """Return what was predicted of each clip, as predictions.csv has it; needs pandas."""
        return typed_frame([dict(zip(self.header, row, strict=True)) for row in self.rows])

    def latex(self) -> str:
        """Return the scores as a table for a paper."""
        facts, protocol = self.run.facts, self.run.facts["protocol"]
        kind = named(self.run.config.protocol.kind, protocol["kind"])
        how = f"protocol {kind}, independence {protocol['independence']}"
        on = "on the run's own test halves" if self.own else f"of the models' mean probabilities on {self.cache.name}"
        leaks = " LEAK: the features have learnt from clips that are scored." if self.leaks else ""
        caption = f"{facts['heading']}. Scores {on}, {self.what}; {how}.{leaks}"
        averaged = 0 if self.own else len(self.models)
        return latex_table(self.predictions, caption=caption, command=self.command, averaged=averaged)

    def to_json(self) -> dict[str, Any]:
        """Return what metrics.json holds."""
        found: dict[str, Any] = {
            "format": FORMAT,
            "version": VERSION,
            "run": str(self.run.path),
            "cache": str(self.cache),
            "what": self.what,
            **({"black_frames": self.black[0], "shown_frames": self.black[1]} if self.black else {}),
            "heading": self.run.facts["heading"],
            "clips": len(self.predictions),
            "seeds": list(self.predictions.seeds) if self.own else [],
            "scores": self.predictions.to_json(),
            "intervals": {name: list(ends) for name, ends in self.intervals.items()},
            "intervals_over": self.predictions.units,
            "over_seeds": {name: vars(value) for name, value in self.predictions.over_seeds.items()},
            "models": {
                name: {"war": one.war, "uar": one.uar, "right": one.right, "total": one.total}
                for name, one in self.models.items()
            },
            "over_models": {name: vars(value) for name, value in self.spread.items()},
            "excluded": self.excluded,
            "unlabelled": self.unlabelled,
        }
        if self.groups:
            found["groups"] = [one.to_json() for one in self.groups]
        if (megc := self.megc) is not None:
            found["megc"] = megc.to_json()
        if self.published and (known := results_of(self.run.config.protocol.kind)):
            found["published"] = [asdict(one) for one in known]
        if self.leaks:
            found["leaks"] = [leak.to_json() for leak in self.leaks]
        return found | {one.question: one.to_json() for one in self.answers}

    def save_details(self) -> None:
        """Write into the run what its models show of their decisions, for pages and probes."""
        for part, details in self.details.items():
            details.save(self.run, part)

    def save(self, folder: Path | str) -> None:
        """Write metrics.json, table.tex and tables into a folder that is no run's: a run has its own of these names."""
        folder = Path(folder)
        expect_free_for(folder, self.run)
        for name in FILES:  # what an earlier evaluation had and this one has not
            (folder / name).unlink(missing_ok=True)
        write_json(folder / "metrics.json", self.to_json())
        write_csv(folder / "predictions.csv", self.header, self.rows)
        write_csv(folder / "confusion.csv", *confusion_table(self.scores))
        write_csv(folder / "classes.csv", *class_table(self.scores))
        write_csv(folder / "scores.csv", *score_table(self._parts(), self.model_intervals))
        if self.groups:
            lines = [group.row(one.column) for one in self.groups for group in one.groups]
            write_csv(folder / "groups.csv", HEADER, lines)
        if (megc := self.megc) is not None:
            write_csv(folder / MEGC, *megc.csv())
        write(folder / "table.tex", self.latex())

    def _parts(self) -> list[dict[str, Any]]:
        """Say of each model what scores.csv holds."""
        found = []
        for part in self.run.facts["parts"]:
            one = self.models[part["name"]]
            known = {"part": part["name"], "fold": part["fold"], "seed": part["seed"]}
            found.append({**known, "right": one.right, "total": one.total, "war": one.war, "uar": one.uar})
        return found


FILES = (
    "metrics.json",
    "predictions.csv",
    "confusion.csv",
    "classes.csv",
    "scores.csv",
    "groups.csv",
    MEGC,
    "table.tex",
)


def expect_free_for(folder: Path, run: Run) -> None:
    """Refuse to write over the results of a run, and over an evaluation of another one."""
    if (folder / FACTS).exists():
        raise UsageError(f"{folder} is a run, and has results of its own.", remedy="--out another folder")
    there = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if not there:
        return
    known = read_json(folder / FILES[0]) if FILES[0] in there else {}
    if known.get("run") is None or Path(known["run"]).resolve() != run.path.resolve():
        whose = f"an evaluation of {known['run']}" if known.get("run") else some(there)
        raise UsageError(f"{folder} holds {whose}.", remedy="--out another folder")


def as_command(
    run: Run,
    cache: Cache | None,
    change: Change,
    split: Sequence[str] | None,
    aliases: Mapping[str, str] | None,
    unknown: str,
    groups: Sequence[str],
    *,
    allow_leak: bool,
) -> str:
    """Write the command line that evaluates a run in this way."""
    words = [
        "est",
        "evaluate",
        str(run.path),
        *(["--cache", cache.url or str(cache.path)] if cache is not None else []),
    ]
    words += ["--shuffle-test"] if change.shuffle else []
    if change.zero is not None:
        words += ["--zero-middle", "auto" if change.zero == "middle" else f"{change.zero[0]}:{change.zero[1]}"]
    words += ["--start", str(change.start)] if change.start is not None else []
    words += [word for one in split or () for word in ("--split", one)]
    words += [word for theirs, ours in (aliases or {}).items() for word in ("--alias", f"{theirs}={ours}")]
    words += ["--unknown", unknown] if unknown != "exclude" else []
    words += [word for one in groups for word in ("--group", one)]
    words += ["--allow-leak"] if allow_leak else []
    return shlex.join([*words, "--latex"])
