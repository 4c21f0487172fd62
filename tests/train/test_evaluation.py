"""Scoring a run again: on its own cache, on others, on shuffled and blackened clips; who counts, and as what."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from refusals import differs
from train_samples import LABELS, TINY, WIDTH, Recorder, learning_cache, read_csv, tiny_config, without_digests

from est.cache import CacheWriter, open_cache
from est.errors import EstError, RecipeMismatch, UsageError
from est.train import EST, Change, EstConfig, ProtocolConfig, Run, evaluate, fit
from est.train.loop.predict import ClipView, predict
from est.train.runs.files import read_json

BLACK = tuple(np.linspace(-3, 3, WIDTH).tolist())
SETTINGS = {"strength": 0.25, "failures": [("gone", "anger", "P2", "test")], "faceless": (6, 7), "black": BLACK}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluate")


@pytest.fixture(scope="module")
def cache(folder):
    return learning_cache(folder / "cache.zarr", **SETTINGS)


@pytest.fixture(scope="module")
def run(cache, folder):
    """A run of three folds and two seeds: six models."""
    config = tiny_config(epochs=3, seeds=(1, 2), protocol=ProtocolConfig(kind="kfold", folds=3))
    return fit(cache, folder / "run", config).run


@pytest.fixture(scope="module")
def single(cache, folder):
    """A run of one model."""
    return fit(cache, folder / "single", tiny_config()).run


@pytest.fixture(scope="module")
def other(folder):
    """Another data set: other clips, other people, labels in another order and spelling, and two that the runs lack."""
    names = ("neutral", "surprised", "contempt", "Happy", "angry")
    means = {
        "surprised": "surprise",
        "Happy": "happiness",
        "angry": "anger",
        "neutral": "anger",
        "contempt": "surprise",
    }
    path = folder / "other.h5"
    fields = {
        index: {"id": f"other{index:03d}", "label": names[index % 5], "subject": f"Q{index % 7}", "split": "dev"}
        for index in range(40)
    }
    # the features of the class that a name means: 8 clips of each
    return learning_cache(path, 40, labels=[means[name] for name in names], listed=names, fields=fields, strength=0.25)


def pooled(run):
    return read_json(run.path / "metrics.json")["pooled"]


def lines(found):
    """Return the rows of an evaluation by part and id."""
    return {(row[0], row[1]): dict(zip(found.header, row, strict=True)) for row in found.rows}


@pytest.mark.parametrize("where", ["as it was", "by name", "moved", "converted"])
def test_its_own_cache_gives_its_own_numbers(run, cache, tmp_path, where):
    target = {"as it was": None, "by name": str(cache), "moved": tmp_path / "m.zarr", "converted": tmp_path / "c.h5"}[
        where
    ]
    if where == "moved":
        shutil.copytree(cache, target)
    if where == "converted":
        learning_cache(target, **SETTINGS)
    found = evaluate(run, target)
    assert found.own
    assert found.predictions.to_json() == pooled(run)
    metrics = read_json(run.path / "metrics.json")
    assert {name: list(ends) for name, ends in found.intervals.items()} == metrics["intervals"]
    assert found.to_json()["over_seeds"] == metrics["over_seeds"]
    assert found.spread["war"].mean == pytest.approx(np.mean([part["war"] for part in metrics["parts"]]))
    for row in read_csv(run.path / "predictions.csv"):
        mine = lines(found)[row["part"], row["id"]]
        assert mine == {name: row[name] for name in found.header}


def test_its_own_cache_is_known_behind_a_link(run, cache, tmp_path):
    (tmp_path / "link.zarr").symlink_to(cache)
    assert evaluate(run, tmp_path / "link.zarr").own


def test_its_own_cache_may_have_grown(run, cache, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    grown = tmp_path / "grown.zarr"
    learning_cache(grown, **{**SETTINGS, "clips": 60})
    facts = read_json(without_digests(copy) / "run.json")
    facts["cache"]["path"] = str(grown)
    (copy / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    assert evaluate(copy).predictions.to_json() == pooled(run), "new clips are nobody's test clips"
    with CacheWriter.open(grown, open_cache(grown).recipes) as writer:
        writer.update("clip000", label="surprise")
    with pytest.raises(EstError, match=r"Clips that .* have other labels now \(1 clip\): clip000"):
        evaluate(copy)
    with CacheWriter.open(grown, open_cache(grown).recipes) as writer:
        writer.remove(["clip001"])
    with pytest.raises(EstError, match=r"Clips that .* are no longer in its cache \(1 clip\): clip001"):
        evaluate(copy)


def test_another_cache_is_scored_by_names(single, other):
    """5 × 8 clips; neutral and contempt are no classes of the run: left out, and counted."""
    watch = Recorder()
    found = evaluate(single, other, watch=watch)
    assert not found.own
    assert found.scores.total == 24
    assert found.excluded == {"neutral": 8, "contempt": 8}
    assert found.scores.labels == LABELS
    assert found.scores.truth.tolist() == [8, 8, 8]
    by_id = {row[1]: row[3] for row in found.rows}
    assert {by_id[name] for name in ("other001", "other006")} == {"surprise"}
    assert {by_id["other003"], by_id["other004"]} == {"happiness", "anger"}
    assert found.scores.war == found.models["split"].war
    assert not watch.warned


def test_unknown_classes_may_count_as_errors(single, other):
    """The arithmetic of Table 11, where 73 of 290 clips are 25.17 % and of all 352 they would be 20.74 %."""
    left_out, wrong = evaluate(single, other), evaluate(single, other, unknown="wrong")
    assert wrong.scores.right == left_out.scores.right
    assert wrong.scores.total == left_out.scores.total + 16 == 40
    assert wrong.excluded == {}
    assert wrong.scores.labels == (*LABELS, "neutral", "contempt")
    assert wrong.scores.hits.tolist() == [*left_out.scores.hits.tolist(), 0, 0]
    assert wrong.scores.war == wrong.scores.right / 40


def test_an_alias_is_a_decision(single, other):
    found = evaluate(single, other, aliases={"neutral": "anger"})
    assert found.excluded == {"contempt": 8}
    assert found.scores.truth.tolist() == [16, 8, 8]
    with pytest.raises(UsageError, match="not 'calm'"):
        evaluate(single, other, aliases={"calm": "anger"})


def test_a_split_of_another_cache(single, other, tmp_path):
    assert evaluate(single, other, split=["dev"]).scores.total == 24
    with pytest.raises(UsageError, match="No clip has the split test") as caught:
        evaluate(single, other, split=["test"])
    assert "the splits are dev" in caught.value.remedy
    # the halves of another cache: clips without a face and failures stay in the denominator
    renamed = {index: {"id": f"new{index}"} for index in range(54)}
    target = learning_cache(tmp_path / "t.zarr", **SETTINGS, fields=renamed)
    found = evaluate(single, target, split=["test"])
    assert found.scores.total == 18 + 1
    assert found.scores.unpredicted == 2 + 1
    rows = {row["id"]: row for row in read_csv_rows(found)}
    assert rows["gone"]["prediction"] == rows["new6"]["prediction"] == rows["new7"]["p_anger"] == ""
    assert found.scores.right == evaluate(single).scores.right, "they are the same clips"


def read_csv_rows(found):
    return [dict(zip(found.header, row, strict=True)) for row in found.rows]


def test_several_models_vote_by_their_mean(run, other):
    found = evaluate(run, other)
    assert len(found.models) == 6
    assert {row[0] for row in found.rows} == {"mean"}
    each = {}
    for part in run.parts:
        alone = Run(
            path=run.path,
            config=run.config,
            facts={**run.facts, "parts": [p for p in run.facts["parts"] if p["name"] == part]},
        )
        each[part] = np.array([[float(share) for share in row[5:]] for row in evaluate(alone, other).rows])
        assert found.models[part].right == evaluate(alone, other).scores.right
    mean = np.array([[float(share) for share in row[5:]] for row in found.rows])
    np.testing.assert_allclose(mean, np.mean(list(each.values()), axis=0), atol=1e-5)
    assert [row[4] for row in found.rows] == [run.labels[place] for place in mean.argmax(1)]
    assert found.by_seed.seeds == (1, 2)
    for place, seed in enumerate((1, 2)):
        mine = np.mean([each[part] for part in run.parts_of(seed)], axis=0)
        assert found.by_seed.predicted[place].tolist() == mine.argmax(1).tolist()


def test_clips_that_were_learnt_from_are_warned_about(single, tmp_path):
    watch = Recorder()
    target = learning_cache(tmp_path / "t.zarr", 10, strength=0.25)
    evaluate(single, target, watch=watch)
    (text,) = watch.warned
    assert text.startswith("7 of 10 clips have the ids of clips that the run has learnt from")


def test_features_of_another_recipe_are_refused(single, tmp_path):
    target = learning_cache(tmp_path / "t.zarr", 9, weights={"weights": "imagenet", "precision": "bf16"})
    with pytest.raises(RecipeMismatch) as caught:
        evaluate(single, target)
    for told in (differs("weights", "random", "imagenet"), differs("precision", "fp32", "bf16")):
        assert re.search(told, caught.value.message)
    watch = Recorder()
    fields = {index: {"id": f"new{index}"} for index in range(9)}
    target = learning_cache(
        tmp_path / "f.zarr", 9, weights={"frames": {"decoder": "pyav", "margin": 0.2}}, fields=fields
    )
    evaluate(single, target, watch=watch)
    (text,) = watch.warned
    assert "decoder: opencv in the run, pyav here" in text
    assert "margin: 0.0 in the run, 0.2 here" in text


def test_other_frame_rates_are_warned_about(single, tmp_path):
    for rate, warnings in ((30.0, 0), (60.0, 1)):
        watch = Recorder()
        fields = {index: {"id": f"new{index}", "fps": rate} for index in range(9)}
        evaluate(single, learning_cache(tmp_path / f"{rate}.zarr", 9, fields=fields), watch=watch)
        assert ["25" in text and "60" in text for text in watch.warned] == [True] * warnings


def test_a_feature_that_is_not_there_is_named(cache, tmp_path):
    run = fit(
        learning_cache(tmp_path / "c.zarr", flip=True), tmp_path / "run", tiny_config(epochs=1, feature="gap_mirrored")
    ).run
    with pytest.raises(RecipeMismatch, match=r"has the features gap, and .* reads 'gap_mirrored'"):
        evaluate(run, cache)


def shown(found):
    """Return the probabilities of the clips that have some."""
    return np.array([[float(share) for share in row[5:]] for row in found.rows if row[5] != ""])


@pytest.mark.parametrize("position", ["snippet", "slot"])
def test_shuffled_snippets(cache, tmp_path, position):
    """With the code's positions the classes do not change at all; with the text's they do."""
    model = EstConfig(**{**vars(TINY), "position": position})
    run = fit(cache, tmp_path / "run", tiny_config(model=model)).run
    shuffled = evaluate(run, change=Change(shuffle=True))
    plain = evaluate(run)
    shares = [shown(found) for found in (plain, shuffled)]
    difference = np.abs(shares[0] - shares[1]).max()
    assert difference < 1e-5 if position == "snippet" else difference > 1e-3
    assert shuffled.what == "snippets shuffled"
    assert plain.answers == ()
    metrics = read_json(run.path / "metrics.json")["order"]
    assert (shuffled.answers[0].right, shuffled.answers[0].total) == (metrics["right"], metrics["total"])
    assert shuffled.answers[0].total == 16, "those that show a face"
    black = [shown(evaluate(run, change=Change(shuffle=shuffle, zero="middle"))) for shuffle in (False, True)]
    assert np.abs(black[0] - shares[0]).max() > 1e-3
    difference = np.abs(black[0] - black[1]).max()
    assert difference < 1e-5 if position == "snippet" else difference > 1e-3, "what is black is shuffled too"


def test_no_orders_to_shuffle_by(cache, tmp_path):
    run = fit(cache, tmp_path / "run", tiny_config(epochs=1, model=EstConfig(**{**vars(TINY), "ssop": False}))).run
    assert run.facts["orders"] == {}
    assert "order" not in read_json(run.path / "metrics.json")
    with pytest.raises(UsageError, match="trained without shuffled clips"):
        evaluate(run, change=Change(shuffle=True))


def test_black_frames_are_the_black_crop(single, monkeypatch):
    forward, seen = EST.forward, []

    def spy(model, batch):
        seen.append(batch["features"].numpy())
        return forward(model, batch)

    monkeypatch.setattr(EST, "forward", spy)

    def blackened(change):
        evaluate(single, change=replace(change, zero=None))
        found = evaluate(single, change=change)
        before, after = seen
        seen.clear()
        black = (after == np.float32(BLACK)).all(-1)
        assert (black != (before == after).all(-1)).all(), "a frame is black or as it was"
        assert (black == black[0]).all()
        return found, black[0]

    found, black = blackened(Change(zero="middle"))
    expected = np.zeros((7, 5), bool)
    expected[3] = True  # frames 45 to 59: the fourth snippet whole, 47 of the third, 55 and 58 of the fifth
    expected[2, 4] = expected[4, :2] = True
    assert (black == expected).all()
    assert found.what == "the middle snippet's span black (8 of the 35 frames shown)"
    assert (found.to_json()["black_frames"], found.to_json()["shown_frames"]) == (8, 35)
    _, black = blackened(Change(zero=(15, 30)))
    assert black[0].all()
    assert black[1].tolist() == [True, True, False, False, False]
    _, black = blackened(Change(zero=(0, 105)))
    assert black.all()
    _, black = blackened(Change(zero="middle", start=0))
    assert (black == expected).all()
    plain = evaluate(single)
    whole = evaluate(single, change=Change(zero=(0, 105)))
    assert len({tuple(row[5:]) for row in whole.rows if row[5] != ""}) == 1, "all clips are the same then"
    assert len({tuple(row[5:]) for row in plain.rows if row[5] != ""}) == 16


def test_the_start_of_the_view(single):
    usual, same, other = (evaluate(single, change=Change(start=start)) for start in (None, 15, 0))
    assert usual.rows == same.rows
    assert usual.rows != other.rows
    assert other.what == "from frame 0"


@pytest.mark.parametrize(
    ("change", "options", "words"),
    [
        (Change(start=31), {}, "--start goes from 0 to 30"),
        (Change(zero=(90, 105)), {}, "The test view shows none of the frames 90:105"),
        (Change(zero=(7, 7)), {}, "0 ≤ A < B ≤ 105"),
        (Change(), {"split": ["test"]}, "are for another cache"),
        (Change(), {"aliases": {"a": "b"}}, "are for another cache"),
        (Change(), {"unknown": "wrong"}, "are for another cache"),
        (Change(), {"device": "gpu"}, "A device is"),
    ],
)
def test_what_makes_no_sense_is_refused(single, change, options, words):
    with pytest.raises(UsageError) as caught:
        evaluate(single, change=change, **options)
    assert words in caught.value.message


def test_a_cache_without_a_black_crop(single, other):
    with pytest.raises(UsageError, match="black"):
        evaluate(single, other, change=Change(zero="middle"))


def test_a_run_that_is_not_complete(single, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(single.path, copy)
    (copy / "parts" / "split" / "result.json").unlink()
    with pytest.raises(EstError, match="is not complete") as caught:
        evaluate(copy)
    assert f"est train --resume --out {copy}" in caught.value.remedy


def test_results_are_written_beside_a_run_and_never_into_it(run, other, tmp_path):
    found = evaluate(run, other, unknown="wrong")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "metrics.json").write_text(json.dumps({"run": str(run.path)}))
    (tmp_path / "out" / "groups.csv").write_text("of an earlier evaluation of this run\n")
    found.save(tmp_path / "out")
    assert not (tmp_path / "out" / "groups.csv").exists()
    (tmp_path / "thesis").mkdir()
    for name, text, words in (
        ("a.txt", "", "holds a.txt"),
        ("metrics.json", '{"run": "other"}', "an evaluation of other"),
    ):
        (tmp_path / "thesis" / name).write_text(text)
        with pytest.raises(UsageError, match=words):
            found.save(tmp_path / "thesis")
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["scores"] == found.scores.to_json()
    assert metrics["heading"] == "EST on a frozen backbone: the published training is end to end"
    assert metrics["cache"] == str(other)
    rows = read_csv(tmp_path / "out" / "predictions.csv")
    assert len(rows) == 40
    assert sum(row["truth"] == row["prediction"] for row in rows) == found.scores.right
    before = (run.path / "metrics.json").read_bytes()
    with pytest.raises(UsageError, match="is a run"):
        found.save(run.path)
    assert (run.path / "metrics.json").read_bytes() == before


def test_view_is_what_predict_takes():
    with pytest.raises(AssertionError):
        predict(None, None, np.zeros(0), None, view=ClipView(blacked=(1, 2)))
