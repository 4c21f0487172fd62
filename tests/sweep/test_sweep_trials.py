"""How trials are drawn, pruned, scored and kept, and what their choice scores: each number computed in another way, too."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest
from swept import GRU, RATES, Watch, base_config, essence, folded_cache, number_of, rates_space, swept
from train_samples import Recorder

from est.cache import open_cache
from est.sweep.search.control import CHOICES, READS, WEIGHT, columns_of
from est.sweep.search.ground import Ground
from est.sweep.search.sweeping import own_base
from est.train import ProtocolConfig, Run, fit
from est.train.config.configfile import resolve
from est.train.data.control import STATISTICS, fit_control
from est.train.data.sampling import sampler_of
from est.train.loop.checkpoint import load_model
from est.train.loop.predict import likeliest, predict_rows
from est.train.results.metrics import score
from est.train.results.predictions import Predictions
from est.train.runs.files import read_history
from est.train.runs.run import HISTORY

ONE = ProtocolConfig(only=("fold0",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("trials")


@pytest.fixture(scope="module")
def cache(folder):
    return folded_cache(folder / "cache.zarr")


@pytest.fixture(scope="module")
def stacked(cache, folder):
    """A sweep whose trainings are stacked, and its folder; it keeps two models of each study."""
    return swept(cache, folder / "stacked", base=base_config(scaling=True), trials=3, keep=2), folder / "stacked"


@pytest.fixture(scope="module")
def alone(cache, folder):
    """The same, one training after another, with the choices trained again."""
    base = base_config(scaling=True, stack="off")
    out = folder / "alone"
    return swept(cache, out, base=base, trials=3, retrain_seeds=2), out


GRID = {
    "loop": {
        "optimizer": ["adam", "adamw"],
        "weight_decay": {"choices": [0.01, 0.1], "when": {"loop": {"optimizer": "adamw"}}},
        "learning_rate": [0.001, 0.003],
    }
}
POINTS = {(rate, "adam", None) for rate in (0.001, 0.003)} | {
    (rate, "adamw", decay) for rate in (0.001, 0.003) for decay in (0.01, 0.1)
}


def point(values):
    return values["loop.learning_rate"], values["loop.optimizer"], values.get("loop.weight_decay")


@pytest.mark.parametrize("trials", [6, 50])
def test_a_grid_has_every_point_once(cache, tmp_path, trials):
    how = {"base": base_config(epochs=1, protocol=ONE), "space": rates_space(**GRID), "sampler": "grid"}
    found = swept(cache, tmp_path / "sweep", trials=trials, **how)
    for study in found.studies_of(control=False):
        assert len(study.records) == 6
        assert {point(record.values) for record in study.records} == POINTS
    for study in found.studies_of(control=True):
        assert number_of(study) == 6  # as many as the model
    assert found.trials == 6


def test_a_grid_goes_on(cache, tmp_path):
    how = {"space": rates_space(**GRID), "sampler": "grid", "control": False}
    first = swept(cache, tmp_path / "sweep", trials=2, **how)
    assert [len(study.records) for study in first.studies] == [2, 2]
    found = swept(cache, tmp_path / "sweep", trials=50, **how)
    for study in found.studies:
        assert sorted(map(str, (point(record.values) for record in study.records))) == sorted(map(str, POINTS))


@pytest.mark.parametrize(
    ("sampler", "trials", "control"), [("random", 4, True), ("tpe", 13, False)]
)  # the first ten of tpe are random
def test_a_seed_draws_the_same_again(cache, tmp_path, sampler, trials, control):
    how = {"sampler": sampler, "trials": trials, "control": control, "base": base_config(epochs=1, protocol=ONE)}
    one, same = (swept(cache, tmp_path / name, seed=5, **how) for name in ("one", "same"))
    other = swept(cache, tmp_path / "other", seed=6, **how)
    for study, again in zip(one.studies, same.studies, strict=True):
        assert essence(study) == essence(again)
        assert number_of(study) == trials
        key = WEIGHT if study.control else "loop.learning_rate"
        assert len({record.values[key] for record in study.records}) == trials
    for study in other.studies:
        drawn = [record.values for record in study.records]
        before = [record.values for record in one.study("fold0", control=study.control).records]
        assert drawn[0] == before[0]  # the settings that were given
        assert all(now != then for now, then in zip(drawn[1:], before[1:], strict=True))


def test_a_bad_setting_is_pruned(cache, tmp_path):
    """A rate of 1e-7 learns nothing; it is put behind the trials that the median is taken of."""
    rates = [3e-2, 2e-2, 1.9e-2, 1.8e-2, 1.7e-2, 1e-7, 1.1e-7]
    space = rates_space(loop={"learning_rate": rates})
    base = base_config(epochs=7, stack="off", learning_rate=3e-2, protocol=ONE)
    found = swept(cache, tmp_path / "sweep", base=base, space=space, sampler="grid", trials=7, control=False)
    for study in found.studies:
        by_rate = {record.values["loop.learning_rate"]: record for record in study.records}
        assert [by_rate[rate].state for rate in rates[:5]] == ["complete"] * 5
        slow = [by_rate[rate] for rate in rates[5:]]
        assert "pruned" in [record.state for record in slow]
        for record in study.records:
            if record.state == "pruned":
                assert 2 <= len(record.curve) < 7
                assert record.value == record.curve[-1][1]
        assert study.best.values["loop.learning_rate"] > 1e-2


def test_without_a_pruner_all_go_to_their_ends(cache, tmp_path):
    space = rates_space(loop={"learning_rate": [3e-2, 1e-7]})
    base = base_config(epochs=6, learning_rate=3e-2, protocol=ONE)
    found = swept(
        cache, tmp_path / "sweep", base=base, space=space, sampler="random", trials=7, pruner="none", control=False
    )
    assert all(len(record.curve) == 6 for study in found.studies for record in study.records)


@pytest.mark.parametrize("stack", ["auto", pytest.param("off", marks=pytest.mark.slow)])
def test_hyperband_stops_early(cache, tmp_path, stack):
    base = base_config(epochs=9, stack=stack, protocol=ONE)
    found = swept(cache, tmp_path / "sweep", base=base, pruner="hyperband", trials=8, control=False)
    for study in found.studies:
        assert number_of(study, "complete") >= 1
        assert number_of(study, "complete") + number_of(study, "pruned") == 8
        assert all(1 <= len(record.curve) < 9 for record in study.records if record.state == "pruned")
    if stack == "off":
        assert any(number_of(study, "pruned") for study in found.studies)


def trained_alone(cache, out, fold, place, target):
    """Train what a sweep printed; return how often each class of its last epoch's inner validation clips was right, and the record."""
    config = resolve(None, out / "best" / f"{fold}-inner{place + 1}.toml")
    run = fit(cache, target, config, watch=Recorder()).run
    return read_history(run.part(run.parts[0]) / HISTORY)[-1], config


def test_a_trial_scores_what_its_training_alone_scores(cache, alone, tmp_path):
    """War is exact from counts; uar is the mean over the classes of both inner folds, by a training of each."""
    found, out = alone
    for study in found.studies_of(control=False):
        ground = Ground.prepare(open_cache(cache), own_base(base_config(scaling=True)), 2)
        labels = ground.ready.data.labels
        right, clips, losses = 0, 0, []
        for place in range(2):
            last, config = trained_alone(cache, out, study.fold, place, tmp_path / f"{study.fold}-{place}")
            assert config.loop.learning_rate == study.best.values["loop.learning_rate"]
            assert len(ground.parts(study.fold)[place].val) == last["val_clips"]
            right += last["val_right"]
            clips += last["val_clips"]
            losses.append((last["val_loss"], last["val_clips"]))
        assert clips == study.chosen_by
        loss = sum(one * number for one, number in losses) / clips  # every clip shows a face
        assert study.best.loss == pytest.approx(loss, abs=1e-6)
        assert len(labels) == 3
    war = swept(
        cache, tmp_path / "war", base=base_config(scaling=True, stack="off"), trials=3, objective="war", control=False
    )
    for study in war.studies:
        right = clips = 0
        for place in range(2):
            last, _ = trained_alone(cache, tmp_path / "war", study.fold, place, tmp_path / f"war-{study.fold}-{place}")
            right += last["val_right"]
            clips += last["val_clips"]
        assert study.best.value == right / clips
        assert [record.loss for record in study.records] == [record.loss for record in found.study(study.fold).records][
            :3
        ]


def test_each_study_draws_its_own(alone):
    one, other = (alone[0].study(fold).records for fold in ("fold0", "fold1"))
    assert one[0].values == other[0].values  # the settings that were given
    assert all(a.values != b.values for a, b in zip(one[1:], other[1:], strict=True))


def test_a_sweep_repeats_bit_for_bit(cache, alone, tmp_path):
    found, out = alone
    again = swept(cache, tmp_path / "again", base=base_config(scaling=True, stack="off"), trials=3)
    for study, other in zip(found.studies, again.studies, strict=True):
        assert essence(study) == essence(other)
    for path in out.glob("best/*.toml"):
        assert path.read_bytes() == (tmp_path / "again" / "best" / path.name).read_bytes()


def test_stacked_trials_score_as_alone(alone, stacked):
    for study, other in zip(stacked[0].studies_of(control=False), alone[0].studies_of(control=False), strict=True):
        together = [record.together for record in study.records]
        assert max(together) > 1
        assert [record.together for record in other.records] == [1, 1, 1]
        by_rate = {record.values["loop.learning_rate"]: record for record in other.records}
        shared = [record for record in study.records if record.values["loop.learning_rate"] in by_rate]
        assert len(shared) == 3
        for record in shared:
            same = by_rate[record.values["loop.learning_rate"]]
            assert record.loss == pytest.approx(same.loss, abs=1e-4)
            assert record.value == pytest.approx(same.value, abs=1.01 / 7)  # one clip may lie between two classes


def test_the_best_models_are_kept(cache, stacked):
    found, out = stacked
    ground = Ground.prepare(open_cache(cache), own_base(base_config(scaling=True)), 2)
    for study in found.studies_of(control=False):
        kept = sorted(path.name for path in (out / "kept" / study.fold).iterdir())
        best = sorted(study.scored, key=lambda record: (-record.value, record.loss, record.number))[:2]
        assert kept == sorted(f"{record.number:04d}-{place}.safetensors" for record in best for place in (1, 2))
        data = ground.data(ground.base, study.fold)
        truth, said = [], []
        for place, part in enumerate(ground.parts(study.fold)):
            model, meta = load_model(out / "kept" / study.fold / f"{study.best.number:04d}-{place + 1}.safetensors")
            assert meta["labels"] == list(data.labels)
            said.append(predicted(model, data, part.val, ground))
            truth.append(data.truth[part.val])
        assert score(np.concatenate(truth), np.concatenate(said), data.labels).uar == study.best.value


def predicted(model, data, rows, ground):
    """Return the classes that a kept model says of rows."""
    sampler = sampler_of(ground.base.sampling, ground.base.model.shown)
    return likeliest(predict_rows(model, data, rows, sampler, precision="fp32")[0])


def test_no_model_is_kept_without_asking(cache, tmp_path):
    found = swept(cache, tmp_path / "sweep", keep=0, trials=1)
    assert found.study("fold0").best is not None
    assert not list((tmp_path / "sweep").rglob("*.safetensors"))


def test_choices_are_trained_on_their_whole_half(cache, alone):
    found, out = alone
    total = right = 0.0
    for fold, number in (("fold0", 30), ("fold1", 24)):
        run = Run.open(out / "retrained" / fold)
        assert run.complete
        best = found.study(fold).best
        assert run.config.loop.learning_rate == best.values["loop.learning_rate"]
        assert (run.config.select, run.config.seeds, run.config.protocol.only) == ("last", (1, 2), (fold,))
        assert run.facts["protocol"]["folds"] == {fold: {"train": 54 - number, "val": 0, "test": number}}
        of_run = Predictions.of_run(run)
        assert len(of_run) == number
        right += of_run.right.mean(0).sum()
        total += number
    score_now = found.retrained["score"]
    assert (found.retrained["clips"], score_now["total"]) == (54, total)
    assert score_now["war"] == pytest.approx(right / total)
    assert score_now["right"] == pytest.approx(right)


def read(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_predictions_hold_each_clip_once(alone):
    found, out = alone
    rows = read(out / "retrained" / "predictions.csv")
    assert sorted(row["id"] for row in rows) == [f"clip{index:03d}" for index in range(54)]

    def recalls(column):
        truth, said = np.array([row["truth"] for row in rows]), np.array([row[column] for row in rows])
        return [(said[truth == label] == label).mean() for label in np.unique(truth)], (said == truth).mean()

    uar = np.mean([recalls(f"seed {seed}")[0] for seed in (1, 2)])
    war = np.mean([recalls(f"seed {seed}")[1] for seed in (1, 2)])
    assert found.retrained["score"]["uar"] == pytest.approx(uar)
    assert found.retrained["score"]["war"] == pytest.approx(war)
    assert found.retrained["control"]["war"] == pytest.approx(recalls("control")[1])
    assert found.retrained["default control"]["war"] == pytest.approx(recalls("default control")[1])


def test_the_control_that_was_chosen_is_fitted_on_the_whole_half(cache, alone):
    found, out = alone
    said = {row["id"]: row["control"] for row in read(out / "retrained" / "predictions.csv")}
    ground = Ground.prepare(open_cache(cache), own_base(base_config()), 2)
    data = ground.ready.data
    for fold in ("fold0", "fold1"):
        values, outer = found.study(fold, control=True).best.values, ground.outer(fold)
        columns = columns_of(CHOICES[values[READS]], data.control.shape[1])
        train, test = data.by_id(outer.train), outer.test
        fitted = fit_control(
            data.control[data.place[train]][:, columns],
            data.truth[train],
            num_classes=3,
            l2=values[WEIGHT],
        )
        classes = fitted.predict_proba(data.control[data.place[test]][:, columns]).argmax(1)
        assert [said[name] for name in data.table.ids[test]] == [data.labels[code] for code in classes]


def test_a_control_is_scored_by_its_inner_folds(cache, alone):
    ground = Ground.prepare(open_cache(cache), own_base(base_config()), 2)
    data = ground.ready.data
    for study in alone[0].studies_of(control=True):
        for record in study.records:
            columns = columns_of(CHOICES[record.values[READS]], data.control.shape[1])
            truth, said = [], []
            for part in ground.parts(study.fold):
                train = data.by_id(part.train)
                fitted = fit_control(
                    data.control[data.place[train]][:, columns],
                    data.truth[train],
                    num_classes=3,
                    l2=record.values[WEIGHT],
                )
                said.append(fitted.predict_proba(data.control[data.place[part.val]][:, columns]).argmax(1))
                truth.append(data.truth[part.val])
            truth, said = np.concatenate(truth), np.concatenate(said)
            assert record.value == pytest.approx(np.mean([(said[truth == c] == c).mean() for c in range(3)]))


def test_columns_are_those_of_the_statistics():
    assert columns_of(("mean", "maximum"), 12).tolist() == [0, 1, 2, 9, 10, 11]
    assert columns_of(STATISTICS, 8).tolist() == list(range(8))


def test_retraining_resumes(cache, alone, tmp_path):
    base = base_config(scaling=True, stack="off")
    out = tmp_path / "sweep"
    with pytest.raises(KeyboardInterrupt):
        swept(cache, out, base=base, trials=3, retrain_seeds=2, watch=Stopped(at=20))
    begun = [path.name for path in (out / "retrained").iterdir()]
    assert begun
    found = swept(cache, out, base=base, trials=3, retrain_seeds=2)
    assert found.retrained == alone[0].retrained
    name = "retrained/predictions.csv"
    assert (out / name).read_bytes() == (alone[1] / name).read_bytes()
    times = {path: path.stat().st_mtime_ns for path in out.glob("retrained/*/parts/*/checkpoint.safetensors")}
    assert len(times) == 4
    again = swept(cache, out, base=base, trials=3, retrain_seeds=2)
    assert again.retrained == found.retrained
    assert {path: path.stat().st_mtime_ns for path in times} == times


class Stopped(Watch):
    """Sends Ctrl-C after so many steps of a retraining."""

    def __init__(self, at):
        super().__init__()
        self.interrupt_after = at


def test_features_of_two_kinds_are_scaled_each_by_its_own(tmp_path):
    """Statistics are computed once for trials that read the same rows, and only for those."""
    cache = folded_cache(tmp_path / "cache.zarr", flip=True)
    base = base_config(scaling=True, stack="off", protocol=ONE)
    how = {"sampler": "grid", "control": False}
    names = ["gap", "gap_mirrored"]  # whose means are opposite
    both = swept(cache, tmp_path / "both", base=base, space=rates_space(base, data={"feature": names}), **how)
    losses = {record.values["data.feature"]: record.loss for record in both.study("fold0").records}
    for name in names:
        own = replace(base, data=replace(base.data, feature=name))
        space = rates_space(own, loop={"learning_rate": [3e-3, 1e-3]})
        only = swept(cache, tmp_path / name, base=own, space=space, trials=1, **how)
        assert only.study("fold0").records[0].loss == losses[name]
    assert len(set(losses.values())) == 2


def test_a_model_of_several_is_chosen(cache, tmp_path):
    space = rates_space(
        base_config(model=GRU),
        model={
            "name": ["gru", "est"],
            "gru": {"hidden": 8, "frames": 8},
            "est": {"dim": 16, "heads": 2, "ffn": 32, "layers": 1, "order_hidden": 16},
        },
        loop={"learning_rate": RATES},
    )
    found = swept(cache, tmp_path / "sweep", space=space, sampler="random", trials=6, control=False)
    names = {record.values["model.name"] for study in found.studies for record in study.records}
    assert names == {"gru", "est"}
    assert all(number_of(study) == 6 for study in found.studies)
    for study in found.studies:
        config = resolve(None, tmp_path / "sweep" / "best" / f"{study.fold}-inner1.toml")
        assert config.model.name == study.best.values["model.name"]
