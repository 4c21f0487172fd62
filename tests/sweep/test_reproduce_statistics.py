"""Statistics of `est reproduce`'s tables on runs made up in a moment: what is compared, and with which sign."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from est.sweep.reproduce.measures import cross_database, scores
from est.sweep.reproduce.tables.catalogue import TABLES
from est.train.results.metrics import score, spread
from est.train.results.predictions import Predictions

CLIPS = 40


def predictions(right, *, ids=None):
    """Return predictions (S, N) of two classes that are right where that is said."""
    right = np.atleast_2d(np.asarray(right, bool))
    number = right.shape[1]
    truth = np.arange(number) % 2
    return Predictions(
        labels=("a", "b"),
        seeds=tuple(range(len(right))),
        ids=np.array([f"c{place:02d}" for place in range(number)] if ids is None else ids),
        subjects=np.array([f"p{place % 10}" for place in range(number)]),
        folds=np.array(["fold1"] * number),
        truth=truth,
        predicted=np.where(right, truth, 1 - truth),
    )


def evaluation(right, together):
    """Return what scoring on another cache found: of each seed, and of all models as one."""
    by_seed, mean = predictions(right), predictions(together)
    models = {f"seed{place}": score(one.truth, one.predicted[0], one.labels) for place, one in enumerate([mean] * 3)}
    return SimpleNamespace(
        by_seed=by_seed,
        predictions=mean,
        scores=mean.scores,
        intervals=mean.intervals,
        models=models,
        spread={"war": spread([one.war for one in by_seed.by_seed])},
        excluded={},
    )


def test_another_cache_is_compared_by_seed():
    """Ensembles differ on every person; single seeds by luck alone."""
    seeds = np.array([0.9, 0.5, 0.1])[:, None] > (np.arange(CLIPS) + 0.5) / CLIPS
    found = {
        "EST": evaluation(seeds, np.ones(CLIPS)),
        "Transformer": evaluation(seeds[:, ::-1] & (np.arange(CLIPS) > 3), np.zeros(CLIPS)),
    }
    table = TABLES["cross-database"]
    runs = SimpleNamespace(
        elsewhere=lambda row: found[row.label],
        test_cache=SimpleNamespace(path="other.zarr"),
        dataset="",
    )
    measured = cross_database.measure(table, table.rows, runs)
    cell = next(cell for name, cell in measured.lines[1].items() if name.startswith("against"))
    assert cell.values["difference_value"] == pytest.approx(
        found["EST"].by_seed.right.mean() - found["Transformer"].by_seed.right.mean()
    )
    assert cell.values["difference_better"] == 0, "the luck of training is counted"
    assert measured.lines[1]["WAR"].values["war_seeds"] == 3
    assert measured.lines[1]["all as one"].values == {"ensemble_war": 1.0}


def test_only_the_row_of_the_control_shows_the_control(monkeypatch):
    """Every run has one where the user asks for it."""
    run, model = SimpleNamespace(config=SimpleNamespace(control=True)), predictions(np.ones((2, CLIPS)))
    both = replace(model, control=1 - model.truth)
    monkeypatch.setattr(scores.Predictions, "of_run", lambda _: both)
    assert scores.predictions_of(run, control=False).right.all()
    shown = scores.predictions_of(run, control=True)
    assert shown.right.shape == (1, CLIPS)
    assert not shown.right.any()
