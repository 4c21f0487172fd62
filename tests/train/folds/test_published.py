"""Protocols by the name of a data set: what they divide, what they say of a cache that is not as published, and what they refuse."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from train_samples import Recorder, learning_cache, learning_clip, outcome, read_csv, tiny_config

from est.cache import CacheWriter, open_cache
from est.cli import main
from est.errors import UsageError
from est.inputs.published import DATASETS
from est.train import ProtocolConfig, evaluate, fit
from est.train.config.protocol import GENERAL, PROTOCOLS
from est.train.folds.annotations import Annotations
from est.train.folds.labels import canonical
from est.train.folds.protocols import plan_folds
from est.train.folds.published import ALL, convention, list_protocols, published

BU = ("Angry", "Disgust", "Fear", "Happy", "Sad", "Surprise")
CREMA = ("angry", "disgust", "fear", "happy", "neutral", "sad")
AFEW = ("happiness", "Neutral", "sadness", "fear", "Anger", "surprise", "disgust")


def plan(table, kind, *, validation=False, **config):
    return plan_folds(table, ProtocolConfig(kind=kind, **config), seed=0, validation=validation)


def as_published(name: str, **columns: Any) -> Annotations:
    """Return clips as many as published, in halves as large as published."""
    known, preset = published(name), PROTOCOLS[name]
    sizes = {half: counts[0] for half, counts in known.tested.items()}
    number = sum(sizes.values())
    made: dict[str, Any] = {"subject": [f"s{n % 97}" for n in range(number)]}
    if preset.kind == "folds":
        made = {"fold": [int(half[4:]) for half, size in sizes.items() for _ in range(size)]}
    elif preset.kind == "split":
        made = {"split": [preset.halves[1]] * number + [preset.halves[0]] * 100}
        number += 100
    made |= {
        "ids": [f"c{n:05d}" for n in range(number)],
        "label": [known.labels[n % len(known.labels)] for n in range(number)],
    }
    return Annotations.from_columns(**{**made, **columns})


def test_every_data_set_with_a_protocol_of_its_own_has_one():
    assert set(PROTOCOLS) == {data.name for data in DATASETS if not data.is_generic}
    assert not set(PROTOCOLS) & set(GENERAL)
    for kind in (*GENERAL, *PROTOCOLS):
        assert ProtocolConfig(kind=kind).kind == kind
    for name, preset in PROTOCOLS.items():
        known = published(name)
        assert len({canonical(label) for label in known.labels}) == len(known.labels) >= (3 if preset.is_micro else 6)
        halves = {
            "folds": [f"fold{n + 1}" for n in range(preset.folds)],
            "split": ["split"],
            "kfold": [ALL],
            "loso": [ALL],
        }
        assert list(known.tested) == halves[preset.kind], "no denominator is missing"
        assert str(next(iter(known.tested.values()))[0])[-3:] in convention(name)
    assert published("ck+").labels == ("anger", "contempt", "disgust", "fear", "happy", "sadness", "surprise")
    assert [row["name"] for row in list_protocols()] == [*GENERAL, *PROTOCOLS]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_data_set_as_published_passes_without_a_word(name):
    table, preset = as_published(name), PROTOCOLS[name]
    found = plan(table, name)
    assert found.kind == preset.kind
    assert len(found.folds) == (97 if preset.kind == "loso" else preset.folds)
    assert [note for note in found.notes if "published" in note or "spellings" in note] == []
    same = {"folds": "folds", "split": "split", "kfold": "kfold", "loso": "loso"}[preset.kind]
    other = plan(table, same, folds=preset.folds if same == "kfold" else None)
    for one, two in zip(found.folds, other.folds, strict=True):
        np.testing.assert_array_equal(one.test, two.test)
        np.testing.assert_array_equal(one.train, two.train)


def test_other_spellings_and_another_order_are_the_same_classes():
    table = as_published("bu4dfe")
    spelt = replace(table, labels=("anger", "disgusted", "FEAR", "happiness", "sadness", "surprised"))
    assert not plan(spelt, "bu4dfe").notes
    assert not plan(replace(table, labels=table.labels[::-1]), "bu4dfe").notes


def test_another_number_of_folds_or_clips_warns():
    table = as_published("dfew")
    fold = np.where(table.fold == 5, 4, table.fold)
    notes = plan(replace(table, fold=fold), "dfew").notes
    assert "DFEW is published with 5 folds; the cache carries 4: fold1, fold2, fold3, fold4." in notes
    assert "Other numbers of clips are tested than published: fold4 4675 (published 2,339)." in notes
    # all folds are compared, also when one runs
    assert any(
        "5 folds; the cache carries 4" in note
        for note in plan(replace(table, fold=fold), "dfew", only=("fold1",)).notes
    )
    table = as_published("afew")
    few = replace(table, split=np.where(np.arange(len(table)) < 10, "", table.split))
    assert (
        "Other numbers of clips are tested than published: split 373 (published 383 or 381 or 352)."
        in plan(few, "afew").notes
    )
    fewer = replace(table, split=np.where(np.arange(len(table)) < 383 - 352, "", table.split))
    assert not [note for note in plan(fewer, "afew").notes if "published" in note], "one of several counts in use"
    table = as_published("ck+")
    more = as_published("ck+", subject=[f"s{n % 97}" for n in range(327)], missing=[n < 3 for n in range(327)])
    assert not [note for note in plan(more, "ck+").notes if "published" in note], "what gave no frames counts"
    none = replace(table, label=np.where(np.arange(327) < 3, -1, table.label))
    assert "all folds 324 (published 327)" in " ".join(plan(none, "ck+").notes)


def test_other_classes_warn():
    table = as_published("bu4dfe")
    names = [*table.labels[:5], "calm"]
    (note,) = plan(replace(table, labels=tuple(names)), "bu4dfe").notes
    lost = next(label for label in BU if label not in names)
    assert note == f"BU-4DFE is published with 6 classes; the cache lacks '{lost}' and has 'calm'."
    label = [table.labels[code] for code in table.label]
    more = as_published("bu4dfe", label=["calm" if n < 20 else name for n, name in enumerate(label)])
    assert plan(more, "bu4dfe").notes[0] == "BU-4DFE is published with 6 classes; the cache has 'calm' beside them."
    twice = as_published("bu4dfe", label=["happiness" if n % 12 == 3 else name for n, name in enumerate(label)])
    assert any("'Happy' and 'happiness' are different classes here" in note for note in plan(twice, "bu4dfe").notes)


def test_the_half_that_is_tested_and_folds_that_are_not_used_are_said():
    table = as_published("afew")
    split = np.where(np.arange(len(table)) < 50, "Testing", table.split)
    notes = plan(replace(table, split=split), "afew").notes
    assert "AFEW is published as tested on val; here test is tested." in notes
    assert not [note for note in plan(replace(table, split=np.char.upper(table.split)), "afew").notes if "publ" in note]
    table = as_published("mmi", fold=[n % 10 for n in range(205)])
    assert any("--protocol official takes them" in note for note in plan(table, "mmi").notes)
    assert plan(table, "official").kind == "folds"


def test_official_is_what_the_cache_carries():
    assert plan(as_published("mafw"), "official").kind == "folds"
    assert plan(as_published("ferv39k"), "official").kind == "split"
    with pytest.raises(UsageError, match=r"neither folds nor the splits train and test.* their splits: none") as caught:
        plan(as_published("mmi"), "official")
    assert caught.value.remedy.startswith("est cache relabel CACHE LIST, with a column `fold`")
    songs = as_published("ravdess", split=["speech"] * 1000 + ["song"] * 440)
    with pytest.raises(UsageError, match="their splits: song, speech"):
        plan(songs, "official")


@pytest.mark.parametrize(
    ("table", "name", "message", "remedy"),
    [
        (
            "bu4dfe",
            "dfew",
            "No clip says in which fold it is tested",
            "est cache relabel CACHE LIST, with a column `fold`",
        ),
        ("dfew", "afew", r"Expected the splits train and test \(or val\), found none", "relabel CACHE LIST"),
        (
            "dfew",
            "bu4dfe",
            "needs every clip's subject; 11697 of 11697 have none",
            "--folds 10 --by clip, whose result",
        ),
    ],
)
def test_what_a_cache_cannot_serve_is_refused_with_the_way_out(table, name, message, remedy):
    with pytest.raises(UsageError, match=message) as caught:
        plan(as_published(table), name)
    assert remedy in caught.value.remedy


def test_settings_that_contradict_a_preset_are_refused():
    assert ProtocolConfig(kind="mmi").num_folds == ProtocolConfig(kind="mmi", folds=10).num_folds == 10
    assert ProtocolConfig(kind="kfold").num_folds == 5
    with pytest.raises(UsageError, match="The protocol crema-d has 5 folds by subject, found 7"):
        ProtocolConfig(kind="crema-d", folds=7)
    with pytest.raises(UsageError, match="goes by subject, found --by clip"):
        ProtocolConfig(kind="ravdess", by="clip")
    with pytest.raises(UsageError, match=r"protocol.kind is auto, .* or megc, found 'affwild'") as caught:
        ProtocolConfig(kind="affwild")
    assert "--list-protocols" in caught.value.remedy
    # without subjects, and with given folds, an inner validation half may go by clip
    table = as_published("afew")
    (fold,) = plan(table, "afew", validation=True, by="clip").folds
    assert (len(fold.val), len(fold.test)) == (15, 383)


def test_protocols_are_listed(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["train", "--list-protocols", "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    rows = {row["name"]: row for row in json.loads(line)["protocols"]}
    assert stop.value.code == 0
    assert set(rows) == {*GENERAL, *PROTOCOLS}
    assert rows["dfew"]["tested"]["fold4"] == [2339]
    assert rows["afew"]["tested"] == {"split": [383, 381, 352]}
    with pytest.raises(SystemExit):
        main(["train", "--list-protocols"])
    text = capsys.readouterr().out
    names = [line.split()[0] for line in text.splitlines()]
    assert [name for name in names if name != "published:"] == list(rows)
    assert "383 or 381 or 352" in text


@pytest.fixture(scope="module")
def bu_fields():
    """Twelve people, six expressions each, without neutral."""
    return {index: {"subject": f"F{index // 6:03d}", "split": ""} for index in range(72)}


def test_a_preset_runs_and_neither_order_of_labels_nor_of_clips_matters(tmp_path):
    config = tiny_config(epochs=1, eval_every=0, control=False, protocol=ProtocolConfig(kind="crema-d"))
    fields = {index: {"subject": f"10{index // 12:02d}", "split": ""} for index in range(72)}
    made = {"labels": CREMA, "fields": fields, "strength": 0.4}
    watch = Recorder()
    learning_cache(tmp_path / "a.zarr", 72, **made)
    results = fit(tmp_path / "a.zarr", tmp_path / "a", config, watch=watch)
    assert any(text.startswith("protocol: crema-d (kfold), 5 folds, independence: by subject") for text in watch.said)
    assert convention("crema-d") in watch.said
    assert "Other numbers of clips are tested than published: all folds 72 (published 7,442)." in watch.warned
    assert results.scores.total == 72
    assert 0 < results.scores.right < 72, "a score that could be another"
    order = np.random.default_rng(1).permutation(72).tolist()
    learning_cache(tmp_path / "b.h5", 72, **made, listed=CREMA[::-1], order=order)
    fit(tmp_path / "b.h5", tmp_path / "b", config)
    assert outcome(tmp_path / "a") == outcome(tmp_path / "b")
    # every clip is tested once, by a model that has not seen its person
    rows = read_csv(tmp_path / "a" / "predictions.csv")
    assert len({row["id"] for row in rows}) == len(rows) == 72
    people = {row["part"]: {r["subject"] for r in rows if r["part"] == row["part"]} for row in rows}
    assert sum(map(len, people.values())) == 6

    metrics = json.loads((tmp_path / "a" / "metrics.json").read_text(encoding="utf-8"))
    assert set(metrics["part_intervals"]) == {f"fold{n + 1}" for n in range(5)}
    by_size = {part: len(who) for part, who in people.items()}
    for part in metrics["parts"]:
        ends = metrics["part_intervals"][part["part"]]
        if by_size[part["part"]] < 5:
            assert ends == {}, "few people say nothing of others"
        else:
            assert ends["war"][0] <= part["war"] <= ends["war"][1]
    text = (tmp_path / "a" / "summary.md").read_text(encoding="utf-8")
    assert "protocol crema-d (kfold)" in text
    assert convention("crema-d") in text


def test_folds_have_their_own_table_with_denominators_and_intervals(tmp_path, capsys):
    fields = {index: {"fold": index // 3 % 2 + 1, "subject": f"P{index // 3}"} for index in range(48)}
    cache = learning_cache(tmp_path / "c.zarr", 48, strength=0.3, fields=fields)
    (tmp_path / "tiny.toml").write_text("[model]\ndim=16\nheads=2\nffn=32\nlayers=1\n", encoding="utf-8")
    line = ["train", "--cache", cache, "--config", tmp_path / "tiny.toml", "--out", tmp_path / "run", "--epochs", "4"]
    with pytest.raises(SystemExit) as stop:
        main(
            [
                str(word)
                for word in [*line, "--lr", "3e-3", "--protocol", "official", "--threads", "1", "--device", "cpu"]
            ]
        )
    out, err = capsys.readouterr()
    assert stop.value.code == 0
    assert "protocol: official (folds), 2 folds" in err
    lines = out.splitlines()
    head = next(number for number, text in enumerate(lines) if text.split()[:1] == ["part"])
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text(encoding="utf-8"))
    for part, text in zip(metrics["parts"], lines[head + 1 :], strict=False):
        low, high = metrics["part_intervals"][part["part"]]["war"]
        assert text.split()[:1] == [part["part"]]
        assert f"{part['right']} / {part['total']}" in text
        assert f"{100 * low:.1f} to {100 * high:.1f}" in text
        assert low <= part["war"] <= high
        shown = f"| {100 * part['war']:.2f} % ({part['right']}/{part['total']}) | {100 * low:.1f} to {100 * high:.1f} |"
        assert shown in (tmp_path / "run" / "summary.md").read_text(encoding="utf-8")
    wide, narrow = metrics["part_intervals"]["fold1"]["war"], metrics["intervals"]["war"]
    assert narrow[1] - narrow[0] < wide[1] - wide[0], "of half as many people less is known"


def test_a_cache_of_another_data_set_is_noticed(tmp_path):
    cache = learning_cache(tmp_path / "c.zarr", 24, fields={index: {"fold": index // 3 % 2} for index in range(24)})
    recorded = tmp_path / "mafw.zarr"
    opened = open_cache(cache)
    with CacheWriter.open(recorded, opened.recipes, environment={"dataset": {"name": "mafw"}}) as writer:
        for index in range(24):
            writer.add(learning_clip(index, fold=index // 3 % 2))
    config = tiny_config(epochs=1, control=False, eval_every=0, protocol=ProtocolConfig(kind="dfew"))
    watch = Recorder()
    run = fit(recorded, tmp_path / "run", config, watch=watch).run
    said = "The protocol is that of DFEW; the cache was extracted as MAFW (single labels)."
    assert said in watch.warned
    assert said in run.facts["protocol"]["notes"]
    watch = Recorder()
    fit(cache, tmp_path / "other", config, watch=watch)
    assert said not in watch.warned


def test_table_11_in_small(bu_fields, tmp_path):
    """BU, which has no neutral, to AFEW, which has: 62 of 352 clips are left out, 290 scored. Here 5 of 30, and 25."""
    bu = learning_cache(tmp_path / "bu.zarr", 72, labels=BU, fields=bu_fields)
    run = fit(bu, tmp_path / "run", tiny_config(epochs=1, protocol=ProtocolConfig(kind="holdout"))).run
    means = {"happiness": "Happy", "sadness": "Sad", "fear": "Fear", "Anger": "Angry", "surprise": "Surprise"}
    means |= {"disgust": "Disgust", "Neutral": "Sad"}
    fields = {
        index: {"id": f"v{index}", "label": AFEW[index % 7], "split": "Val" if index < 28 else "Train", "subject": ""}
        for index in range(42)
    }
    gone = [("gone", "fear", "", "Val"), ("gone too", "Neutral", "", "Val"), ("gone three", "fear", "", "Train")]
    afew = learning_cache(
        tmp_path / "afew.zarr", 42, labels=[means[name] for name in AFEW], listed=AFEW, fields=fields, failures=gone
    )
    found = evaluate(run, afew, split=["Val"])
    assert (found.scores.total, found.excluded) == (25, {"Neutral": 5})
    assert found.scores.labels == BU
    assert found.scores.truth.tolist() == [4, 4, 5, 4, 4, 4], "what could not be extracted is in the denominator"
    assert found.scores.unpredicted == 1
    right = found.scores.right
    assert right > 25 / 6 * 1.5, "above chance: classes are matched by what their names mean"
    wrong = evaluate(run, afew, split=["Val"], unknown="wrong")
    assert (wrong.scores.right, wrong.scores.total) == (right, 30)
    alias = evaluate(run, afew, split=["Val"], aliases={"Neutral": "Sad"})
    assert (alias.scores.total, alias.excluded) == (30, {})
    # the order of their labels changes nothing
    again = learning_cache(
        tmp_path / "again.zarr",
        42,
        labels=[means[name] for name in AFEW],
        listed=AFEW[::-1],
        fields=fields,
        failures=gone,
    )
    assert evaluate(run, again, split=["Val"]).scores.to_json() == found.scores.to_json()
