"""What the choices of a sweep score: each fold's configuration trained on its whole training half with several seeds, and tested once.

Nothing is chosen any more: a training is as long as its trial was, and its last epoch counts. The control that was chosen is fitted on the
same clips.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import EstError
from ...train.config.config import TrainConfig
from ...train.config.configfile import to_toml
from ...train.config.protocol import ProtocolConfig
from ...train.fitting import fit
from ...train.loop.predict import likeliest
from ...train.results.intervals import score_intervals
from ...train.results.metrics import score
from ...train.results.paired import Difference, compare_paired
from ...train.results.predictions import Predictions
from ...train.results.run import FACTS, PREDICTIONS, Run, write_csv
from ..found.record import Sweep
from .control import control_probabilities
from .ground import Ground
from .watching import SweepWatch

RETRAINED = "retrained"
UNITS = {"subjects": "people", "clips": "clips"}


def retrain(ground: Ground, out: Path, found: Sweep, seeds: Sequence[int], watch: SweepWatch) -> Mapping[str, Any]:
    """Train what each fold's study chose, where that is not done yet; return the scores of all folds."""
    runs = {}
    for number, fold in enumerate(ground.folds):
        watch.say(f"retraining the choice of {fold} ({number + 1} of {len(ground.folds)}) with {len(seeds)} seeds")
        config = retrained_config(ground, out, fold, seeds)
        runs[fold] = _run(out / RETRAINED / fold, ground, config, watch)
        tested = set(ground.table.ids[ground.outer(fold).test].tolist())
        assert set(runs[fold].halves()[fold]["test"]) == tested, (
            "a choice is tested on the clips that its study has not read"
        )
    predictions = [Predictions.of_run(run) for run in runs.values()]
    model = joined(predictions)
    swept = _swept_control(ground, found, model)
    retrained: dict[str, Any] = {
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
    return retrained


def retrained_config(ground: Ground, out: Path, fold: str, seeds: Sequence[int]) -> TrainConfig:
    """Return the configuration of a fold's last training: that of its choice, on the whole training half."""
    from ...train.config.configfile import resolve
    from .sweeping import BEST

    name = fold if ground.inner == 1 else f"{fold}-inner1"
    chosen = resolve(None, out / BEST / f"{name}.toml")
    protocol: ProtocolConfig = replace(chosen.protocol, val_part="", only=(fold,))
    return replace(chosen, protocol=protocol, select="last", seeds=tuple(seeds), control=True)


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


def _run(path: Path, ground: Ground, config: TrainConfig, watch: SweepWatch) -> Run:
    """Return a complete run: the one that is there, gone on with where it is not complete, or a new one."""
    if not (path / FACTS).is_file():
        return fit(ground.cache, path, config, watch=watch).run
    run = Run.open(path)
    if to_toml(run.config) != to_toml(config):
        raise EstError(
            f"{path} holds a training of other settings than the choice has now.",
            remedy=f"remove {path.parent}, then run the same command again",
        )
    return run if run.complete else fit(ground.cache, path, resume=True, watch=watch).run


def _swept_control(ground: Ground, found: Sweep, model: Predictions) -> np.ndarray | None:
    """Return what the control that each fold's study chose says of the clips that were tested."""
    said: dict[tuple[str, str], str] = {}
    for fold in ground.folds:
        study = found.study(fold, control=True)
        if study is None or study.best is None:
            return None
        data, outer = ground.data(ground.base, fold), ground.outer(fold)
        classes = likeliest(control_probabilities(study.best.values, outer.train, outer.test, data))
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
