"""Prediction sees what extraction caches, says what evaluation says, and writes what it promises."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from predict_samples import LENGTHS, QUIET, cache_of
from train_samples import Recorder, read_csv

import est
from est.cache import open_cache
from est.infer.prediction import sink
from est.infer.prediction.predicting import predict
from est.train import Run
from est.train.evaluation import evaluate
from est.train.runs.files import read_json


@pytest.fixture
def seen(monkeypatch):
    """The clips that come into the sink."""
    clips = []
    before = sink.PredictionSink.add

    def add(self, clip, *, replacing):
        clips.append(clip)
        before(self, clip, replacing=replacing)

    monkeypatch.setattr(sink.PredictionSink, "add", add)
    return clips


@pytest.mark.parametrize("face", ["all", pytest.param("main", marks=pytest.mark.slow)])
def test_rows_are_those_that_extraction_caches(sample, seen, tmp_path, face):
    cache = open_cache(cache_of(sample.folder, tmp_path / "cache.zarr", face=face))
    predict(sample.folder, sample.run, config=replace(QUIET, face=face))
    assert len(seen) == len(cache) == len(LENGTHS)
    for clip in seen:
        place = cache.ids.index(clip.id)
        start, count = cache.clips.start[place], cache.clips.count[place]
        for name in ("gap", "box", "landmarks", "score", "time", "state"):
            stored = (cache.load(name).rows if name == "gap" else cache.load_column(name))[start : start + count]
            mine = clip.features["gap"] if name == "gap" else getattr(clip, name)
            np.testing.assert_array_equal(mine, stored, err_msg=f"{clip.id} {name}")
            assert mine.dtype == stored.dtype


def test_a_short_clip_is_predicted_as_evaluation_predicts_it(sample):
    found = evaluate(sample.run, device="cpu", watch=Recorder())
    assert len({row[0] for row in found.rows[1:3]}) == 2
    column = {name: place for place, name in enumerate(found.header)}
    for row in found.rows[1:3]:  # one of each part
        mine = predict(
            sample.folder / f"{row[column['id']]}.mp4", sample.run, config=replace(QUIET, part=row[column["part"]])
        )
        assert len(mine) == 1
        theirs = [float(row[column[f"p_{label}"]]) for label in mine.labels]
        np.testing.assert_allclose(mine.windows.probabilities()[0], theirs, atol=1e-6)
        assert mine.windows["apparent_expression"][0] == row[column["prediction"]]


def test_all_models_are_averaged(sample):
    run = Run.open(sample.run)
    parts = [predict(sample.video, run, config=replace(QUIET, part=part)) for part in run.parts]
    both = predict(sample.video, run, config=QUIET)
    mean = np.mean([one.windows.probabilities() for one in parts], axis=0)
    assert np.abs(parts[0].windows.probabilities() - parts[1].windows.probabilities()).max() > 1e-4
    np.testing.assert_allclose(both.windows.probabilities(), mean, atol=1e-6)


def test_the_table_of_the_python_call(sample):
    found = est.predict(sample.video, sample.run, config=QUIET)
    (row,) = found
    assert (row["video"], row["track"], row["first_frame"], row["last_frame"]) == ("clip1", 1, 0, LENGTHS[1] - 1)
    assert row["face_share"] == 1.0
    assert sum(row[f"p_{label}"] for label in found.labels) == pytest.approx(1, abs=1e-6)
    assert row["apparent_expression"] == max(found.labels, key=lambda label: row[f"p_{label}"])
    assert len(found.timeline) == LENGTHS[1]
    assert found.timeline["frame"].tolist() == list(range(LENGTHS[1]))
    assert found.out is None


def test_files_hold_what_the_call_returns(sample, tmp_path):
    out = tmp_path / "out"
    found = predict([sample.folder], sample.run, out=out, config=replace(QUIET, parquet=True))
    windows, timeline = read_csv(out / "predictions.csv"), read_csv(out / "timeline.csv")
    assert [row["video"] for row in windows] == [f"clip{number}" for number in range(4)]
    assert len(timeline) == sum(LENGTHS)
    for row, mine in zip(windows, found, strict=True):
        assert float(row["p_calm"]) == pytest.approx(mine["p_calm"], rel=1e-5)
    first = timeline[0]
    assert list(first)[:10] == [
        *("video", "track", "frame", "time", "left", "top", "right", "bottom", "state", "apparent_expression")
    ]
    assert float(first["right"]) > float(first["left"]) > 0
    assert found.timeline["time"][: LENGTHS[0]] == pytest.approx(np.arange(LENGTHS[0]) / 25, abs=1e-3)
    summary = read_json(out / "predictions.json")
    assert (summary["engine"], summary["precision"]) == (["torch"], ["fp32"])
    assert [video["id"] for video in summary["videos"]] == [row["video"] for row in windows]
    assert summary["labels"] == ["calm", "glad"]
    assert summary["models"] == Run.open(sample.run).parts
    assert not (out / ".unfinished").exists()
    assert "emotion" not in (out / "predictions.csv").read_text() + json.dumps(summary)  # nobody knows what is felt
    import pandas

    table = pandas.read_parquet(out / "timeline.parquet")
    assert list(table.columns) == list(first)
    assert table["p_glad"].to_numpy() == pytest.approx([float(row["p_glad"]) for row in timeline], abs=1e-6)
