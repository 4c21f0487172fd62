"""Statistics of `est reproduce`'s tables on runs made up in a moment: what is compared, and with which sign."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from est.sweep.reproduce import runs as runs_module
from est.sweep.reproduce.measures import convergence, cross_database, scores, starts, zero_middle
from est.sweep.reproduce.tables.catalogue import TABLES
from est.sweep.reproduce.watching import RowWatch
from est.train.evaluated import Change
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
    assert cell.values["difference_better"] == 0, "the variation between trainings is counted"
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


def test_variances_over_starts_are_of_a_sample():
    """Two starts that differ by 10 points under one seed and by 20 under the other: 50 and 200 points squared."""
    row, shown = TABLES["start-frames"].rows[0], {}

    def found(_, change=None):
        rights = (20, 20) if change is None or change.start == 0 else (24, 28)
        return shown.setdefault(change, predictions(np.arange(CLIPS) < np.array(rights)[:, None]))

    config = SimpleNamespace(sampling=SimpleNamespace(spare=1))
    runs = SimpleNamespace(config=lambda _: config, predictions=found, dataset="")
    values = starts.measure(TABLES["start-frames"], [row], runs).lines[0]["variance over starts"].values
    assert values["variance"] == pytest.approx(np.mean([50, 200]))


def test_what_is_lost_by_emptying_is_negative():
    whole, empty = predictions(np.ones((2, CLIPS))), predictions(np.arange(CLIPS) < np.array([[30], [20]]))
    runs = SimpleNamespace(predictions=lambda row, change=None: whole if change is None else empty, dataset="")
    table = TABLES["zero-middle"]
    lines = zero_middle.measure(table, table.rows, runs).lines
    assert [line["lost by emptying, points (95 %)"].values["lost_value"] for line in lines] == [
        pytest.approx(-0.375)
    ] * 3
    assert lines[0]["lost by emptying, points (95 %)"].words.startswith("−37.5")


def test_the_row_of_the_control_has_its_score_and_no_seed(monkeypatch):
    model = SimpleNamespace(architecture="own", questions=())
    config = SimpleNamespace(control=True, model=model, seeds=(1, 2))
    run = SimpleNamespace(config=config, parts_of=lambda _: ())
    runs = SimpleNamespace(run=lambda _: run, cache=None, dataset="")
    both = predictions(np.ones((2, CLIPS)))
    both = replace(both, control=np.where(np.arange(CLIPS) < 10, both.truth, 1 - both.truth))
    monkeypatch.setattr(scores.Predictions, "of_run", lambda _: both)
    monkeypatch.setattr(scores, "parameters_of", lambda *_: 1)
    table = TABLES["overall"]
    shown = {line["row"].words: line["WAR"].values for line in scores.measure(table, table.rows, runs).lines}
    assert shown.pop("control") == {"war": 0.25, "war_sd": None, "war_seeds": 1}
    assert all(one == {"war": 1.0, "war_sd": 0.0, "war_seeds": 2} for one in shown.values())


def test_rows_of_the_order_head_read_what_they_say():
    said = {
        row.label: (row.settings["model.order_input"], row.settings.get("model.detach_snippets", True))
        for row in TABLES["fusion"].rows
    }
    assert said == {
        "T alone": ("query", True),
        "R + T (EST)": ("fused", True),
        "R alone": ("snippets", True),
        "R + T, R attached": ("fused", False),
    }


def test_changed_predictions_are_those_of_their_clips(tmp_path, monkeypatch):
    """What is kept of a changed view may have the clips in another order than the run."""
    plain = predictions(np.ones((2, CLIPS)))
    right = np.arange(CLIPS) < 7
    turned = np.random.default_rng(0).permutation(CLIPS)
    changed = predictions(np.stack([right, ~right]))
    found = replace(changed, ids=changed.ids[turned], predicted=changed.predicted[:, turned])
    run = SimpleNamespace(path=tmp_path, config=SimpleNamespace(device="cpu", allow_leak=False))
    monkeypatch.setattr(runs_module.Runs, "run", lambda *_: run)
    monkeypatch.setattr(runs_module.Predictions, "of_run", lambda _: plain)
    monkeypatch.setattr(runs_module, "evaluate", lambda *_, **__: SimpleNamespace(predictions=found))
    held = runs_module.Runs(cache=None, out=tmp_path, recipe=None, plan=None, watch=RowWatch(None, 0))
    assert (
        held.predictions(TABLES["zero-middle"].rows[0], Change(zero="middle")).right.tolist() == changed.right.tolist()
    )


def test_convergence_is_of_all_parts():
    histories = {"a": [(0, 2, 4), (1, 4, 4)], "b": [(0, 0, 4), (1, 2, 4)]}
    records = {
        name: [{"epoch": epoch, "test_right": right, "test_clips": clips} for epoch, right, clips in epochs]
        for name, epochs in histories.items()
    }
    run = SimpleNamespace(parts=("a", "b"), history=records.get)
    assert convergence.by_epoch(run, convergence._accuracy) == [(0, 0.25), (1, 0.75)]
