"""An audit of a small cache: its numbers are those of its runs, it resumes, and it refuses what it cannot answer."""

from __future__ import annotations

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from refusals import differs
from scipy import stats
from train_samples import (
    LABELS,
    Recorder,
    fit_interrupted,
    learning_cache,
    learning_clip,
    learning_recipes,
    read_lines,
    tiny_config,
    without_digests,
)

from est.cache import CacheWriter
from est.cache.trained import TrainedOn
from est.cli import main
from est.errors import EstError, UsageError
from est.sweep import audit_cache
from est.sweep.audit import findings
from est.sweep.audit.findings import CONTROL, INNER, LAST, ORACLE, find
from est.sweep.audit.page import lines
from est.sweep.audit.size import expect_people, expect_validation
from est.train import FinetuneConfig, ProtocolConfig, Run, fit
from est.train.config.configfile import to_toml
from est.train.folds.annotations import Annotations
from est.train.folds.protocols import plan_folds
from est.train.models.gru.config import Config
from est.train.results.paired import compare_paired
from est.train.results.predictions import read_predictions
from est.train.runs.files import read_history, read_json
from est.train.runs.run import CHECKPOINT, EPOCHS, HISTORY, RESULT
from est.train.runs.table import list_runs, verify_runs

PROTOCOL = ProtocolConfig(kind="kfold", folds=2, val_share=0.5)
SMALL = Config(hidden=8)


def audit_config(**changed):
    """Return what trains a fold in a moment."""
    return tiny_config(
        **{"model": SMALL, "epochs": 3, "learning_rate": 1e-2, "seeds": (1, 2), "protocol": PROTOCOL, **changed}
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return learning_cache(tmp_path_factory.mktemp("audited") / "cache.zarr", 108, subjects=12, strength=0.7)


@pytest.fixture(scope="module")
def audited(cache, tmp_path_factory):
    """Return an audit, its folder and what was said."""
    out, watch = tmp_path_factory.mktemp("audits") / "audit", Recorder()
    return audit_cache(cache, out, audit_config(), permutations=2, watch=watch), out, watch


def war(rows):
    """Return the share of predictions that are right."""
    return np.mean([row["truth"] == row["prediction"] for row in rows])


def test_the_estimates_are_those_of_the_run(audited):
    found, out, _ = audited
    run = Run.open(out / "trained")
    assert run.config.select == "val"
    for number, seed in enumerate(run.config.seeds):
        names = [part["name"] for part in run.facts["parts"] if part["seed"] == seed]
        results = [read_json(run.part(name) / RESULT) for name in names]
        last = [read_history(run.part(name) / HISTORY)[-1] for name in names]
        total = sum(one["total"] for one in results)
        expected = {
            "oracle": sum(one["oracle"]["right"] for one in results),
            "inner_validation": sum(one["right"] for one in results),
            "last": sum(one["test_right"] for one in last),
        }
        for name, right in expected.items():
            assert found.estimates[name].by_seed["war"][number] == pytest.approx(right / total), name
    metrics = read_json(run.path / "metrics.json")
    assert found.estimates["oracle"].over_seeds("war").mean == pytest.approx(metrics["oracle"]["war"])
    assert found.estimates["inner_validation"].over_seeds("war").mean == pytest.approx(
        metrics["pooled"]["war"]["value"]
    )
    assert found.estimates["control"].by_seed["war"] == (metrics["control"]["war"]["value"],)


def test_permuted_labels_teach_nothing(audited):
    found, out, _ = audited
    assert found.score.over_seeds("war").mean > 0.75
    assert found.estimates["control"].by_seed["war"][0] > 0.9
    for name in ("last", "inner_validation", "control"):  # few permutations: test_permutation.py has many
        reached = np.mean(found.permuted.reached[name]["war"])
        assert reached < found.estimates[name].over_seeds("war").mean - 0.15
    assert found.permuted.p["war"] == pytest.approx(1 / 3)
    assert 0.4 < found.permuted.changed < 0.9
    assert found.permuted.share["war"] == pytest.approx(
        np.mean(found.permuted.reached["last"]["war"]) / found.score.over_seeds("war").mean
    )
    for number in (1, 2):
        run = Run.open(out / "permuted" / f"{number:02d}")
        assert run.complete
        assert run.config.seeds == (1,)
        assert "permuted" in run.facts["protocol"]["notes"][0]
        assert not (run.part(run.parts[0]) / CHECKPOINT).exists()
        pooled = war([row for name in run.parts for row in read_predictions(run, name)])
        assert found.permuted.reached["inner_validation"]["war"][number - 1] == pytest.approx(pooled)


def test_differences_and_what_could_be_detected(audited):
    found = audited[0]
    value = {name: one.over_seeds("war").mean for name, one in found.estimates.items()}
    for pair, difference in found.differences.items():
        one, other = pair.split(" - ")
        assert difference.value == pytest.approx(value[one] - value[other])
        assert difference.units == 12
    assert found.differences["oracle - last"].value >= 0
    assert found.differences["oracle - inner_validation"].value >= 0
    assert set(found.detectable) == {"like_two_seeds", "like_the_control"}
    assert all(0 < one < 0.5 for one in found.detectable.values())


@pytest.fixture
def predicted(monkeypatch):
    """Return what makes a run of predictions alone (S, N), of people with so many clips each."""
    monkeypatch.setattr(findings.Tested, "of", classmethod(lambda cls, run: run.tested))

    def run_of(truth, last, clips, control=None):
        names = {LAST: last, INNER: last, ORACLE: last} | ({} if control is None else {CONTROL: control[None]})
        number = len(truth)
        tested = findings.Tested(
            labels=("a", "b"),
            ids=np.array([f"c{place}" for place in range(number)]),
            subject=np.array([f"p{place // clips}" for place in range(number)]),
            truth=truth,
            predicted=names,
            seconds=1.0,
        )
        facts = {"heading": "", "cache": {"path": "c.zarr"}, "model": "est", "protocol": {}}
        return SimpleNamespace(tested=tested, facts=facts, config=audit_config())

    return run_of


def test_p_counts_permuted_labels_of_the_tested_clips(predicted):
    """Scores on permuted labels are 6, 1 and 2 of 8, on true ones 2, 7 and 6; the first seed has 6, the second 8."""
    truth = np.array([0, 1] * 4)
    other = 1 - truth  # each person's two clips exchange their labels
    wrong = [np.arange(8) < 2, np.arange(8) > 0, np.arange(8) > 1]
    runs = [predicted(truth, np.where(one, truth, other)[None], 2) for one in wrong]
    taught = [{f"c{place}": "ab"[label] for place, label in enumerate(other)}] * 3
    seeds = np.stack([np.where(np.arange(8) < 2, other, truth), truth])
    found = find(predicted(truth, seeds, 2), "last", runs, taught, [1.0, 1.0, 1.0]).permuted
    assert found.own["war"] == (0.75, 0.125, 0.25)
    assert found.reached[LAST]["war"] == (0.25, 0.875, 0.75)
    assert found.share["war"] == pytest.approx((0.25 + 0.875 + 0.75) / 3 / 0.875)
    assert dict(found.p) == {"war": 2 / 4, "uar": 2 / 4, "uf1": 2 / 4}, (
        "one of three reaches the score of the first seed"
    )


def test_what_could_be_detected_with_as_many_seeds(predicted):
    """People's answers vary between seeds, then the score of all of them; a control like the model, then one unlike it."""
    rng = np.random.default_rng(0)
    truth, people = np.zeros(240, int), np.repeat(np.arange(12), 20)
    by_clip = (rng.random((3, 240)) < 0.3).astype(int)
    by_seed = (np.arange(240) % 20 < np.array([[10], [6], [2]])).astype(int)
    whole_people = (people % 2).astype(int)
    deviations = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    for last, control in ((by_clip, truth), (by_clip, whole_people), (by_seed, whole_people)):
        found = find(predicted(truth, last, 20, control), "last", [], [], [])
        right = last == truth
        pairs = [compare_paired(right[one], right[other], people).detectable for one, other in ((0, 1), (0, 2), (1, 2))]
        over_seeds = np.sqrt(2) * deviations * right.mean(axis=1).std(ddof=1)
        expected = max(np.sqrt(np.mean(np.square(pairs))), over_seeds) / np.sqrt(3)
        unlike = found.differences["last - control"].detectable
        assert found.detectable["like_two_seeds"] == pytest.approx(expected, rel=1e-5)
        assert found.detectable["like_the_control"] == max(unlike, found.detectable["like_two_seeds"])
        assert (over_seeds > max(pairs)) == (last is by_seed)
        assert (unlike < expected) == (control is truth), "both cases of the maximum"


def test_what_is_written_and_said(audited, cache):
    found, out, watch = audited
    assert json.loads((out / "audit.json").read_text()) == json.loads(json.dumps(found.to_json()))
    page = (out / "audit.md").read_text()
    for text in (
        "inner validation",
        "oracle",
        "smallest detectable difference",
        "permuted labels reach",
        "est train --select last",
    ):
        assert text in page
    assert any("of the labels were changed" in line for line in lines(found))
    assert watch.said[0] == "audit: 8 trainings: 2 folds × 2 seeds, and 2 folds × 2 permutations"
    assert sum("trainings of about" in text for text in watch.said) == 1
    assert [name for name, _ in watch.parts][-1] == "permuted 2, fold2"
    assert not [text for text in watch.said if "est train --resume" in text]


def test_the_same_command_shows_a_finished_audit_and_adds_permutations(audited, cache):
    found, out, _ = audited
    watch = Recorder()
    again = audit_cache(cache, out, audit_config(), permutations=2, watch=watch)
    assert again.to_json() == found.to_json()
    assert not watch.parts
    fewer = audit_cache(cache, out, audit_config(select="val"), permutations=1, watch=watch)
    assert not watch.parts
    assert fewer.score is fewer.estimates["inner_validation"]
    assert fewer.permuted.number == 1
    audit_cache(cache, out, audit_config(), permutations=2)  # audit.json as it was


def test_a_stopped_audit_goes_on(cache, tmp_path):
    """Stopped in the run on the labels, then in the one on permuted ones: the result is that of an audit without a stop."""
    one_fold = ProtocolConfig(kind="kfold", folds=2, val_share=0.5, only=("fold1",))
    config = audit_config(control=False, epochs=2, protocol=one_fold, stack="off")
    whole = audit_cache(cache, tmp_path / "whole", config, permutations=1)
    out = tmp_path / "stopped"
    for steps in (2, 12):  # 6 a training
        watch = Recorder(steps)
        with pytest.raises(KeyboardInterrupt):
            audit_cache(cache, out, config, permutations=1, watch=watch)
        assert watch.said[-1] == f"stopped; the same command with --out {out} resumes"
    assert watch.parts[-1] == ("permuted 1, fold1", 1)
    watch = Recorder()
    resumed = audit_cache(cache, out, config, permutations=1, watch=watch)
    assert "2 of them done" in watch.said[0]
    assert [name for name, _ in watch.parts] == ["permuted 1, fold1"]
    different = {"seconds"}
    assert {key: value for key, value in resumed.to_json().items() if key not in different} == {
        key: value for key, value in whole.to_json().items() if key not in different
    }


def test_epochs_are_kept_through_a_stop(cache, tmp_path):
    one_fold = ProtocolConfig(kind="kfold", folds=2, only=("fold1",))
    config = audit_config(seeds=(1,), keep_epochs=True, control=False, protocol=one_fold)
    fit(cache, tmp_path / "whole", config)
    fit_interrupted(cache, tmp_path / "stopped", config, 8)
    for part in Run.open(tmp_path / "whole").parts:
        kept = [np.load(tmp_path / name / "parts" / part / EPOCHS) for name in ("whole", "stopped")]
        assert kept[0]["epoch"].tolist() == [1, 2, 3]
        assert (kept[0]["predicted"] == kept[1]["predicted"]).all()
        rows = read_predictions(Run.open(tmp_path / "whole"), part)
        assert [(*LABELS, "")[place] for place in kept[0]["predicted"][-1]] == [row["prediction"] for row in rows]
    without = fit(cache, tmp_path / "without", audit_config(seeds=(1,), epochs=1, control=False, protocol=one_fold)).run
    assert not (without.part(without.parts[0]) / EPOCHS).exists()


def refused(cache, out, config=None, **settings):
    """Return the error of an audit."""
    with pytest.raises(EstError) as found:
        audit_cache(cache, out, config or audit_config(), **settings)
    return found.value


def test_too_few_people_or_clips(cache, tmp_path):
    few = learning_cache(tmp_path / "few.zarr", 24, subjects=4)
    error = refused(few, tmp_path / "out")
    assert "needs at least 5 people" in error.message
    assert "has 4" in error.message
    error = refused(cache, tmp_path / "out", audit_config(protocol=ProtocolConfig(kind="kfold", folds=2)))
    assert (
        "the inner validation part has 9 clips of 1 people; an audit needs at least 20 clips of 3 people"
        in error.message
    )
    assert "12 people with 108 clips; about 34 people and 267 clips are enough" in error.message
    assert "protocol.val_share=0.5" in error.remedy
    assert not (tmp_path / "out").exists()


def test_bad_input(cache, tmp_path, audited):
    _, out, _ = audited
    unlabelled = learning_cache(tmp_path / "unlabelled.zarr", 12, fields={n: {"label": None} for n in range(12)})
    assert "has a label" in refused(unlabelled, tmp_path / "a").message
    assert re.search(differs("loop.epochs", 3, 4), refused(cache, out, audit_config(epochs=4)).message)
    assert "two or more, found [1]" in refused(cache, tmp_path / "a", audit_config(seeds=(1,))).message
    assert "found 1" in refused(cache, tmp_path / "a", audit_config(epochs=1)).message
    assert "--permutations" in refused(cache, tmp_path / "a", permutations=-1).message
    warm = audit_config(finetune=FinetuneConfig(learns="all", init="runs/a"))
    assert "true labels" in refused(cache, tmp_path / "a", warm).message
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    assert "contains no audit" in refused(cache, tmp_path / "full").message
    other = learning_cache(tmp_path / "other.zarr", 107, subjects=12)
    assert "clips or labels differ" in refused(other, out).message


def test_other_features_of_the_same_clips_are_another_audit(audited, tmp_path):
    out, config = audited[1], audit_config()
    noise = learning_cache(tmp_path / "noise.zarr", 108, subjects=12, strength=0.0)
    with pytest.raises(UsageError, match="the features of some clips differ"):
        audit_cache(noise, out, config, permutations=2)
    with pytest.raises(UsageError, match="too few for a batch of 500"):
        audit_cache(noise, tmp_path / "new", audit_config(batch=500), permutations=1)
    assert not (tmp_path / "new").exists(), "what was refused leaves nothing to go on with"


def test_a_lost_file_is_named_and_made_again(audited, cache, tmp_path):
    out = tmp_path / "copy"
    shutil.copytree(audited[1], out)
    part = out / "trained" / "parts" / "fold1-seed2"
    (part / EPOCHS).write_bytes(b"PK")
    assert "epochs.npz does not match its checksum" in refused(cache, out, permutations=2).message
    without_digests(out / "trained")
    assert "epochs.npz cannot be read" in refused(cache, out, permutations=2).message
    shutil.rmtree(part)
    watch = Recorder()
    again = audit_cache(cache, out, audit_config(), permutations=2, watch=watch)
    assert [name for name, _ in watch.parts] == ["fold1-seed2"]
    assert again.score.by_seed == audited[0].score.by_seed


def test_runs_of_an_audit_are_whole_and_permuted_ones_are_trained_by_an_audit_alone(audited, cache, tmp_path):
    out = shutil.copytree(audited[1], tmp_path / "copy")
    assert {row.status for row in verify_runs(list_runs(out))} == {"complete"}
    part = out / "permuted" / "01" / "parts" / "fold1"
    whole = (part / "predictions.csv").read_bytes()
    (part / "predictions.csv").write_bytes(whole.replace(b"0", b"1", 1))
    assert refused(cache, out, permutations=2).remedy.endswith(f"rm -r {part} and the same est audit again")
    shutil.rmtree(part)
    with pytest.raises(UsageError, match="its labels were permuted"):  # on those of the cache
        fit(None, out / "permuted" / "01", resume=True)
    audit_cache(cache, out, audit_config(), permutations=2)
    assert (part / "predictions.csv").read_bytes() == whole
    assert {row.status for row in verify_runs(list_runs(out))} == {"complete"}


def test_sizes_where_people_are_unknown():
    number = 60
    table = Annotations.from_columns(
        ids=[f"clip{place:03d}" for place in range(number)], label=[("a", "b")[place % 2] for place in range(number)]
    )
    config = audit_config(protocol=ProtocolConfig(kind="kfold", folds=3, by="clip"))
    plan = plan_folds(table, config.protocol, seed=1, validation=True)
    expect_people(table)
    with pytest.raises(UsageError) as found:
        expect_validation(table, plan, config)
    assert (
        "has 6 clips; an audit needs at least 20 clips there. This cache has 60 clips; about 200" in found.value.message
    )
    assert "val_share=0.5" in found.value.remedy
    wide = audit_config(protocol=ProtocolConfig(kind="kfold", folds=3, by="clip", val_share=0.5))
    expect_validation(table, plan_folds(table, wide.protocol, seed=1, validation=True), wide)


def test_features_that_leak(tmp_path):
    record = TrainedOn(clips=("clip000", "clip001"), folds=("fold1",), how="est train --finetune layer4")
    recipes = learning_recipes(trained_on=record.fingerprint)
    with CacheWriter.open(tmp_path / "tuned.zarr", recipes, labels=LABELS, trained_on=[record]) as writer:
        for index in range(108):
            writer.add(learning_clip(index, subjects=12))
    error = refused(tmp_path / "tuned.zarr", tmp_path / "out")
    assert "clip000" in error.message
    assert "--allow-leak" in error.remedy
    assert not (tmp_path / "out").exists()


def test_the_command(cache, tmp_path, capsys):
    settings = tmp_path / "audit.toml"
    settings.write_text(to_toml(audit_config(control=False, epochs=2, seeds=(5,))))

    def command(*line):
        with pytest.raises(SystemExit) as stop:
            main(["audit", str(cache), "--out", str(tmp_path / "out"), "--config", str(settings), *line])
        return stop.value.code, capsys.readouterr()

    line = ["--fold", "fold1", "--seeds", "2", "--permutations", "1"]
    status, shown = command("--json", *line)
    assert status == 0
    events = read_lines(shown.out)
    result = events[-1]
    assert result["event"] == "result"
    assert result["seeds"] == [5, 6]
    assert result["audit"] == str(tmp_path / "out")
    assert set(result["estimates"]) == {"last", "inner_validation", "oracle"}
    assert [event["name"] for event in events if event["event"] == "part"] == [
        "fold1-seed5",
        "fold1-seed6",
        "permuted 1, fold1",
    ]
    status, shown = command(*line)
    assert status == 0
    assert "last epoch" in shown.out
    assert "audit.md" in shown.out
    status, shown = command("--seeds", "1")
    assert status == 2
    assert "2 to 1000 seeds" in shown.err
