"""What `est reproduce` says of time, and the table of costs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import pytest
from reproduce_samples import recipe
from train_samples import Recorder, learning_cache

from est.cache import open_cache
from est.sweep.reproduce import estimate
from est.sweep.reproduce.estimate import Speed, duration, rough
from est.sweep.reproduce.measures import complexity
from est.sweep.reproduce.recipe import Recipe
from est.sweep.reproduce.reproducing import reproduce
from est.sweep.reproduce.runs import Runs
from est.sweep.reproduce.tables.catalogue import TABLES
from est.sweep.reproduce.watching import RowWatch
from est.train.config.config import TrainConfig
from est.train.folds.annotations import Annotations
from est.train.preparation import plan_of


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("reproduced") / "cache.zarr", 36)


def test_how_long_trainings_take():
    speed = Speed(together=4, step=0.5, steps=10, scoring=0.25)
    config = TrainConfig(loop=Recipe(options={"loop.epochs": 6}).config().loop, eval_every=2)
    assert speed.seconds(config, 9) == 3 * 6 * 10 * 0.5 + 9 * (3 + 2) * 0.25
    assert [duration(seconds) for seconds in (0.3, 12, 400, 7200)] == ["0.3 s", "12 s", "7 min", "2.0 h"]


def test_the_clock_takes_the_median_after_the_first_steps(monkeypatch):
    """One step that other work made longer changes nothing; that this thread had no processor is seen."""
    monkeypatch.setattr(estimate.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(estimate.time, "thread_time", lambda: worked[0])
    now, worked = [0.0], [0.0]
    clock = estimate._Clock(SimpleNamespace(wanted=False))
    for took in (5.0, 1.0, *[0.1] * 4, 0.9, *[0.1] * 6):
        now[0] += took
        worked[0] += 0.1
        clock.step(0, 0)
    assert clock.seconds == pytest.approx(0.1)
    assert clock.busy
    assert clock.stop.wanted
    assert [rough(seconds) for seconds in (0.33, 1.4, 28, 44, 431, 7200)] == [
        "0.3 s",
        "2 s",
        "30 s",
        "40 s",
        "7 min",
        "1.9 h",
    ]


def test_rows_of_one_configuration_are_timed_once_and_take_turns(cache, tmp_path, monkeypatch):
    calls = []

    def measured(ready, config, *, alone):
        calls.append(config.model.ssop)
        return Speed(together=1, step=0.01 * len(calls), steps=1, scoring=0.5, busy=True, took=1.0)

    monkeypatch.setattr(complexity, "measure_speed", measured)
    rows = TABLES["ablation"].rows[-2:], TABLES["convergence"].rows[1:]
    table = replace(
        TABLES["complexity"], rows=(*rows[0], replace(rows[1][1], label="again"), TABLES["ablation"].rows[1])
    )
    monkeypatch.setitem(TABLES, "complexity", table)
    found = reproduce("complexity", cache, tmp_path / "out", recipe()).sheets[0]
    assert calls == [True, True, False] * 3
    by_row = {line["row"].words: line["step, ms"].words for line in found.lines}
    assert by_row["with both (EST)"] == by_row["again"] == "50.0 (20.0 to 80.0)"
    assert any("did other work" in note for note in found.notes)
    assert any("on the cache's crops of" in note for note in found.notes)


def test_pictures_are_learnt_from_on_a_cpu_where_that_takes_less_than_a_day(cache, tmp_path):
    def why(*settings, **options):
        watch = RowWatch(Recorder(), 0)
        made = recipe(*settings, **options)
        plan = plan_of(open_cache(cache), Annotations.from_cache(open_cache(cache)), made.config())
        asked = Runs(cache=open_cache(cache), out=tmp_path, recipe=made, plan=plan, watch=watch)
        return asked.why_not(TABLES["overall"].row("R3D-18"))

    assert "G MACs a clip, 3 times that in training, 72,000 clips" in why(epochs=1000)
    assert not why("model.channels=4", epochs=1000)
