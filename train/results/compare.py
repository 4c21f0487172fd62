"""Comparing runs: on the same clips, clip by clip, and what differs in how they were made. Nothing of torch is imported.

Every run is compared with the first. A run alone is compared with its control.

Legend: N clips, S seeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import EstError, UsageError, counted, quoted, some
from ..config.configfile import MODEL, to_flat
from ..folds.leaks import describe_leaks, leaks_of
from ..runs.run import Run, other_clips
from .metrics import Spread
from .paired import Difference, compare_paired, mcnemar, uar_weights
from .predictions import Predictions

CONTROL = "control"
PERMUTED_LABELS = "learnt permuted labels: a reference of est audit, not a result"
READS = "reads"  # what a model reads, among the settings
NO_SUCH = "-"  # where a model has no such setting
UNITS = {"subjects": "people", "clips": "clips"}  # in sentences
IGNORED = ("device", "tensorboard", "eval_every", "seeds")  # decide nothing, or stand in the table


@dataclass(frozen=True, kw_only=True, eq=False)
class Contestant:
    """A run, or a control, with what it predicted of the clips that are compared."""

    name: str
    path: Path
    predictions: Predictions

    @property
    def over_seeds(self) -> dict[str, Spread]:
        """Return mean and deviation of its scores over seeds."""
        return self.predictions.over_seeds


@dataclass(frozen=True, kw_only=True, eq=False)
class Duel:
    """The first run against another one."""

    first: Contestant
    other: Contestant

    @cached_property
    def war(self) -> Difference:
        """Return the difference in WAR."""
        return self._compare(np.ones(len(self.first.predictions), bool))

    @cached_property
    def uar(self) -> Difference:
        """Return the difference in UAR."""
        return self._compare(
            np.ones(len(self.first.predictions), bool), weights=uar_weights(self.first.predictions.truth)
        )

    @cached_property
    def classes(self) -> dict[str, Difference]:
        """Return the difference in the recall of each class that has clips."""
        truth, labels = self.first.predictions.truth, self.first.predictions.labels
        return {label: self._compare(truth == code) for code, label in enumerate(labels) if (truth == code).any()}

    @cached_property
    def mcnemar(self) -> float | None:
        """Return McNemar's p, where nothing better is at hand: one seed each, and people unknown."""
        one, other = self.first.predictions, self.other.predictions
        if one.by_subject or len(one.right) > 1 or len(other.right) > 1:
            return None
        return mcnemar(one.right[0], other.right[0])

    def _compare(self, chosen: np.ndarray, *, weights: np.ndarray | None = None) -> Difference:
        one, other = self.first.predictions, self.other.predictions
        return compare_paired(
            one.right[:, chosen],
            other.right[:, chosen],
            one.groups[chosen],
            weights=weights,
            unit=UNITS[one.units],
            fixed=self.other.name == CONTROL,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON data."""
        return {
            "first": self.first.name,
            "other": self.other.name,
            "war": self.war.to_json(),
            "uar": self.uar.to_json(),
            "classes": {label: found.to_json() for label, found in self.classes.items()},
            "mcnemar": self.mcnemar,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Runs, compared."""

    contestants: tuple[Contestant, ...]
    duels: tuple[Duel, ...]
    settings: dict[str, tuple[Any, ...]]  # that differ: by key, of each run
    notes: tuple[str, ...]  # what a reader must know before the numbers

    @property
    def clips(self) -> int:
        """Count the clips that are compared."""
        return len(self.contestants[0].predictions)

    @property
    def units(self) -> int:
        """Count the people, or the clips where people are unknown."""
        return self.contestants[0].predictions.num_units

    def to_json(self) -> dict[str, Any]:
        """Return the JSON data."""
        return {
            "clips": self.clips,
            "units": self.units,
            "units_are": UNITS[self.contestants[0].predictions.units],
            "runs": [
                {
                    "name": one.name,
                    "path": str(one.path),
                    "seeds": list(one.predictions.seeds) if one.name != CONTROL else [],
                    "scores": one.predictions.to_json(),
                    "over_seeds": {name: vars(value) for name, value in one.over_seeds.items()},
                }
                for one in self.contestants
            ],
            "differences": [duel.to_json() for duel in self.duels],
            "settings": {key: list(values) for key, values in self.settings.items()},
            "notes": list(self.notes),
        }


def compare_runs(paths: Path | str | Sequence[Path | str], *, common: bool = False) -> Comparison:
    """Compare complete runs on the clips that all of them tested, or one run with its control.

    With `common` runs that tested others besides are compared on what they share.

    >>> found = est.compare_runs("runs/first")  # with its control
    >>> [one.name for one in found.contestants]
    ['EST', 'control']
    """
    paths = [paths] if isinstance(paths, Path | str) else list(paths)
    if not paths:
        raise UsageError("Which runs?", remedy="est compare RUN RUN; est runs lists them")
    runs = [_open(path) for path in paths]
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise UsageError(
            "A run is compared with another one, found the same twice.",
            remedy="est compare RUN alone: with its control",
        )
    if len(runs) == 1:
        contestants, notes = _with_control(runs[0]), _notes(runs)
    else:
        names = _names(runs)
        contestants = [
            Contestant(name=name, path=run.path, predictions=Predictions.of_run(run))
            for name, run in zip(names, runs, strict=True)
        ]
        _expect_same_videos(runs, names)
        contestants, flagged = _aligned(contestants, common=common)
        notes = [*flagged, *_notes(runs)]
    first, *others = contestants
    duels = tuple(Duel(first=first, other=other) for other in others)
    if len(duels) > 1:
        notes.append(
            f"{len(duels)} comparisons: of twenty between equal models, one is expected to show a difference by chance"
        )
    return Comparison(contestants=tuple(contestants), duels=duels, settings=_settings(runs), notes=tuple(notes))


def _open(path: Path | str) -> Run:
    run = Run.open(path)
    if not run.complete:
        raise UsageError(f"{run.path} is not complete.", remedy=f"est train --resume --out {quoted(run.path)}")
    return run


def _names(runs: Sequence[Run]) -> list[str]:
    """Name runs by their models where these differ, else by their folders."""
    titles = [run.config.model.title for run in runs]
    if len(set(titles)) == len(runs):
        return titles
    for depth in range(1, 5):
        names = ["/".join(run.path.resolve().parts[-depth:]) for run in runs]
        if len(set(names)) == len(runs):
            return names
    return [str(run.path) for run in runs]


def _with_control(run: Run) -> list[Contestant]:
    """Return a run and its control on the same clips."""
    found = Predictions.of_run(run)
    if found.control is None:
        raise UsageError(
            f"{run.path} has no control to be compared with.", remedy="name a second run, or train without --no-control"
        )
    control = replace(found, seeds=found.seeds[:1], predicted=found.control[None])
    return [
        Contestant(name=run.config.model.title, path=run.path, predictions=found),
        Contestant(name=CONTROL, path=run.path, predictions=control),
    ]


def _aligned(contestants: Sequence[Contestant], *, common: bool) -> tuple[list[Contestant], list[str]]:
    """Bring the clips of all into one order, or say why they cannot be compared."""
    first = contestants[0]
    labels = first.predictions.labels
    shared = set(first.predictions.ids.tolist())
    for other in contestants[1:]:
        if set(other.predictions.labels) != set(labels):
            raise UsageError(
                f"{first.name} tells {_quoted(labels)} apart, {other.name} {_quoted(other.predictions.labels)}: "
                f"scores over different classes cannot be compared.",
                remedy="compare runs on the same classes",
            )
        shared &= set(other.predictions.ids.tolist())
    flagged = []
    for other in contestants:
        ids = set(other.predictions.ids.tolist())
        if alone := sorted(ids - shared):
            flagged.append(f"{other.name} tested {counted(len(alone), 'clip')} that others have not: {some(alone)}")
    if not shared:
        raise UsageError("These runs have tested no clip in common.", remedy="compare runs on the same data")
    if flagged and not common:
        raise UsageError(
            f"These runs have not tested the same clips: {'; '.join(flagged)}.",
            remedy=f"--common compares them on the {counted(len(shared), 'clip')} that all tested",
        )
    if flagged:
        flagged.append(f"compared on the {counted(len(shared), 'clip')} that all tested")
    order = np.array(sorted(shared), str)
    found = [replace(one, predictions=_ordered(one.predictions, order, labels)) for one in contestants]
    truth = found[0].predictions.truth
    for other in found[1:]:
        if (changed := truth != other.predictions.truth).any():
            raise EstError(
                f"{first.name} and {other.name} were scored by other labels of {counted(int(changed.sum()), 'clip')}: "
                f"{some(order[changed])}.",
                remedy="train both on the cache as it is now; est evaluate is not enough",
            )
    people = found[0].predictions.subjects
    for other in found[1:]:
        theirs = other.predictions.subjects
        if contrary := int(((people != theirs) & (people != "") & (theirs != "")).sum()):
            raise EstError(
                f"{first.name} and {other.name} name different people for {counted(contrary, 'clip')}.",
                remedy="est cache relabel corrects a cache; then train both on it",
            )
        people = np.where(people == "", theirs, people)  # the run that has the name
    found = [replace(one, predictions=replace(one.predictions, subjects=people)) for one in found]
    if any((found[0].predictions.folds != one.predictions.folds).any() for one in found[1:]):
        flagged.append("the clips are divided into other folds, which depend on the first seed: --seeds")
    return found, flagged


def _expect_same_videos(runs: Sequence[Run], names: Sequence[str]) -> None:
    """Refuse runs in which one id stands for other videos."""
    first = runs[0].clips()
    for run, name in zip(runs[1:], names[1:], strict=True):
        if changed := other_clips(first, run.clips()):
            raise UsageError(
                f"In {names[0]} and {name} the same ids stand for different videos ({counted(len(changed), 'clip')}): "
                f"{some(sorted(changed))}.",
                remedy="compare runs on the same data",
            )


def _ordered(found: Predictions, ids: np.ndarray, labels: Sequence[str]) -> Predictions:
    """Return the predictions of some clips in their order, by the places of other labels."""
    place = {name: row for row, name in enumerate(found.ids.tolist())}
    chosen = found.where(np.array([place[name] for name in ids.tolist()]))
    code = np.array([*(list(labels).index(label) for label in found.labels), -1])  # the last is no prediction
    return replace(
        chosen, labels=tuple(labels), truth=code[chosen.truth], predicted=code[chosen.predicted], control=None
    )


def _notes(runs: Sequence[Run]) -> list[str]:
    """Return what a reader must know: leaks, other data, and that one seed says nothing of the variation between trainings."""
    notes = [f"{run.path}: LEAK: {line}" for run in runs for line in describe_leaks(leaks_of(run.facts))]
    notes += [f"{run.path}: {PERMUTED_LABELS}" for run in runs if run.permuted]
    caches = [run.facts["cache"] for run in runs]
    if len({Path(cache["path"]).resolve() for cache in caches}) > 1:
        notes.append("trained on different caches: " + ", ".join(str(cache["path"]) for cache in caches))
    elif len({str(sorted(cache["fingerprints"].items())) for cache in caches}) > 1:
        notes.append(
            f"{caches[0]['path']} was made with other settings, or had other features, when each run was started"
        )
    single = [str(run.path) for run in runs if len(run.config.seeds) == 1]
    if single:
        notes.append(
            f"one seed: {', '.join(single)}. The intervals do not include the variation between seeds; --seeds 1,2,3 does"
        )
    return notes


def _settings(runs: Sequence[Run]) -> dict[str, tuple[Any, ...]]:
    """Return the settings in which runs differ; of different models what they read, and their settings that are not their defaults."""
    flats = [to_flat(run.config) for run in runs]
    models = {flat[MODEL] for flat in flats}
    if len(models) == 1:
        return _differing(flats, list(flats[0]))
    flats = [{**flat, READS: run.config.reads} for flat, run in zip(flats, runs, strict=True)]
    defaults = [to_flat(replace(run.config, model=type(run.config.model)())) for run in runs]
    changed = [
        key
        for flat, default in zip(flats, defaults, strict=True)
        for key in default
        if key.startswith("model.") and key != MODEL and flat[key] != default[key]
    ]
    others = [key for key in flats[0] if not key.startswith("model.") and key != READS]
    flats = [dict.fromkeys(changed, NO_SUCH) | flat for flat in flats]
    return _differing(flats, [MODEL, READS, *dict.fromkeys(changed), *others])


def _differing(flats: Sequence[dict[str, Any]], keys: Sequence[str]) -> dict[str, tuple[Any, ...]]:
    """Return the settings, of some, in which runs differ."""
    return {
        key: tuple(flat[key] for flat in flats)
        for key in keys
        if key not in IGNORED and any(flat[key] != flats[0][key] for flat in flats)
    }


def _quoted(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels))
