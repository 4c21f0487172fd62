"""What the choices of a sweep score: each fold's configuration trained on its whole training half with several seeds, and tested once.

Nothing is chosen any more: a training is as long as its trial was, and its last epoch counts. The control that was chosen is fitted on the
same clips.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import EstError, UsageError, differing, some
from ...train.config.config import TrainConfig
from ...train.config.configfile import differences, resolve, to_toml
from ...train.fitting import fit
from ...train.loop.predict import likeliest
from ...train.loop.watch import TrainingWatch
from ...train.results.intervals import score_intervals
from ...train.results.metrics import score
from ...train.results.paired import Difference, compare_paired
from ...train.results.predictions import Predictions
from ...train.runs.files import read_json, write_csv, write_json
from ...train.runs.run import FACTS, PREDICTIONS, Run
from ..found.record import Sweep
from .control import control_probabilities
from .ground import Ground
from .quiet import TrainingAlone
from .watching import SweepWatch

RETRAINED, SCORES, BEST = "retrained", "scores.json", "best"
UNITS = {"subjects": "people", "clips": "clips"}


def retrain(ground: Ground, out: Path, found: Sweep, seeds: Sequence[int], watch: SweepWatch) -> Mapping[str, Any]:
    """Train what each fold's study chose, where that is not done yet; return the scores of all folds.

    The test halves are read once: where they have been, other choices or seeds are refused.
    """
    choices = choices_of(found)
    _expect_unread(out, choices, seeds)
    runs, within = {}, TrainingAlone(watch)
    for number, fold in enumerate(ground.folds):
        watch.say(f"retraining the choice of {fold} ({number + 1} of {len(ground.folds)}) with {len(seeds)} seeds")
        config = retrained_config(ground, out, fold, seeds)
        runs[fold] = _run(out / RETRAINED / fold, ground, config, within)
        tested = set(ground.table.ids[ground.outer(fold).test].tolist())
        assert set(runs[fold].halves()[fold]["test"]) == tested, (
            "a choice is tested on the clips that its study has not read"
        )
    predictions = [Predictions.of_run(run) for run in runs.values()]
    model = joined(predictions)
    learnt = {fold: run.halves()[fold]["train"] for fold, run in runs.items()}
    swept = _swept_control(ground, found, model, learnt)
    retrained: dict[str, Any] = {
        "choices": choices,
        "seeds": list(seeds),
        "folds": {fold: _scores(one) for fold, one in zip(runs, predictions, strict=True)},
        "score": _scores(model) | {"interval": _intervals(model)},
        "clips": len(model),
    }
    controls = {"control": swept, "default control": model.control}
    _write_predictions(out / RETRAINED / PREDICTIONS, model, controls)
    for name, said in controls.items():
        if said is None:
            continue
        one = replace(model, predicted=said[None], seeds=(0,))
        difference = _difference(model, said)
        retrained[name] = _scores(one) | {"interval": _intervals(one)}
        title = "the control that was chosen" if name == "control" else "the control as it is by default"
        sentence = difference.sentence(" and ".join(found.models), title)
        retrained["difference" if name == "control" else "difference to the default control"] = sentence
        retrained[f"paired {name}"] = difference.to_json()
    write_json(out / RETRAINED / SCORES, retrained)
    return retrained


def read_retrained(out: Path, found: Sweep) -> dict[str, Any] | None:
    """Return the scores of the choices where they have been trained, with a note where trials have changed the choices since."""
    path = out / RETRAINED / SCORES
    if not path.is_file():
        return None
    retrained = read_json(path)
    changed = _changed(retrained["choices"], choices_of(found))
    if changed:
        retrained["note"] = (
            "These are the scores of earlier choices: trials that were added after the test halves had been read "
            f"changed {some(changed)}. A score of the new choices would be chosen with knowledge of the test halves."
        )
    return retrained


def choices_of(found: Sweep) -> dict[str, Any]:
    """Return the settings that each study has chosen, as JSON has them."""
    chosen = {study.name: dict(study.best.values) for study in found.studies if study.best is not None}
    return json.loads(json.dumps(chosen))


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Name the studies whose choice is another one."""
    return [name for name in {**then, **now} if then.get(name) != now.get(name)]


def _expect_unread(out: Path, choices: Mapping[str, Any], seeds: Sequence[int]) -> None:
    """Refuse to read the test halves again with other choices or seeds."""
    path = out / RETRAINED / SCORES
    if not path.is_file():
        return
    then = read_json(path)
    if changed := _changed(then["choices"], choices):
        raise UsageError(
            f"The test halves have been read for earlier choices; trials that were added since changed {some(changed)}.",
            remedy="leave out --retrain-best, which shows the earlier scores; or --out another folder and --seed another number",
        )
    if list(seeds) != then["seeds"]:
        raise UsageError(
            differing(path, {"seeds": (then["seeds"], list(seeds))}),
            remedy=f"--seeds {len(then['seeds'])}, or leave out --retrain-best, which shows the scores",
        )


def retrained_config(ground: Ground, out: Path, fold: str, seeds: Sequence[int]) -> TrainConfig:
    """Return the configuration of a fold's last training: that of its choice, on the whole training half."""
    return replace(resolve(None, out / BEST / f"{fold}.toml"), seeds=tuple(seeds))


def whole_half(chosen: TrainConfig, fold: str) -> TrainConfig:
    """Return a choice for a training on the whole training half of a fold: no part is set aside, no epoch chosen."""
    protocol = replace(chosen.protocol, val_part="", only=(fold,))
    return replace(chosen, protocol=protocol, select="last", control=True)


def joined(predictions: Sequence[Predictions]) -> Predictions:
    """Return the predictions of several runs, each of folds of its own, as those of one."""
    first = predictions[0]
    labels = tuple(sorted({label for one in predictions for label in one.labels}))

    def codes(one: Predictions, values: np.ndarray) -> np.ndarray:
        places = np.array([*(labels.index(label) for label in one.labels), -1])
        return places[values]

    def whole(name: str) -> np.ndarray:
        return np.concatenate([getattr(one, name) for one in predictions])

    control = None
    if all(one.control is not None for one in predictions):
        control = np.concatenate([codes(one, one.control) for one in predictions if one.control is not None])
    return replace(
        first,
        labels=labels,
        ids=whole("ids"),
        subjects=whole("subjects"),
        folds=whole("folds"),
        truth=np.concatenate([codes(one, one.truth) for one in predictions]),
        predicted=np.concatenate([codes(one, one.predicted) for one in predictions], axis=1),
        control=control,
    )


def _run(path: Path, ground: Ground, config: TrainConfig, watch: TrainingWatch) -> Run:
    """Return a complete run: the one that is there, resumed if it is not complete, or a new one."""
    if not (path / FACTS).is_file():
        return fit(ground.cache, path, config, watch=watch).run
    run = Run.open(path)
    if to_toml(run.config) != to_toml(config):
        raise EstError(
            differing(path, differences(run.config, config), more=["It is of an earlier choice"]),
            remedy=f"remove {path.parent}, then run the same command again",
        )
    return run if run.complete else fit(ground.cache, path, resume=True, watch=watch).run


def _swept_control(
    ground: Ground, found: Sweep, model: Predictions, learnt: Mapping[str, Sequence[str]]
) -> np.ndarray | None:
    """Return what the control that each fold's study chose says of the clips that were tested, having learnt from the model's clips."""
    said: dict[tuple[str, str], str] = {}
    for fold in ground.folds:
        study = found.study(fold, control=True)
        if study is None or study.best is None:
            return None
        data, outer = ground.data(ground.base, fold), ground.outer(fold)
        rows = np.flatnonzero(np.isin(data.table.ids, list(learnt[fold])))
        classes = likeliest(control_probabilities(study.best.values, rows, outer.test, data))
        names = (*data.labels, "")
        said |= {
            (fold, name): names[code] for name, code in zip(data.table.ids[outer.test].tolist(), classes, strict=True)
        }
    code = {label: place for place, label in enumerate(model.labels)} | {"": -1}
    return np.array(
        [code[said[fold, name]] for fold, name in zip(model.folds.tolist(), model.ids.tolist(), strict=True)]
    )


def _write_predictions(path: Path, model: Predictions, controls: Mapping[str, np.ndarray | None]) -> None:
    """Write what each seed and both controls said of each clip that was tested."""
    names = (*model.labels, "")
    columns = {f"seed {seed}": said for seed, said in zip(model.seeds, model.predicted, strict=True)}
    columns |= {name: said for name, said in controls.items() if said is not None}
    rows = [
        [name, subject, fold, names[truth], *(names[said[place]] for said in columns.values())]
        for place, (name, subject, fold, truth) in enumerate(
            zip(model.ids.tolist(), model.subjects.tolist(), model.folds.tolist(), model.truth.tolist(), strict=True)
        )
    ]
    write_csv(path, ["id", "subject", "fold", "truth", *columns], rows)


def _scores(found: Predictions) -> dict[str, Any]:
    scores = [score(found.truth, one, found.labels) for one in found.predicted]
    return {
        "right": float(np.mean([one.right for one in scores])),
        "total": len(found),
        "war": float(np.mean([one.war for one in scores])),
        "uar": float(np.mean([one.uar for one in scores])),
    }


def _intervals(found: Predictions) -> dict[str, list[float]] | None:
    limits = score_intervals(found.truth, found.predicted, found.groups, found.labels)
    return {name: list(limits[name]) for name in ("war", "uar")} if limits else None


def _difference(model: Predictions, control: np.ndarray) -> Difference:
    return compare_paired(model.right, control == model.truth, model.groups, unit=UNITS[model.units], fixed=True)
