"""A cache that is still being extracted: training on it says so, and the run goes on with its clips when there are more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from train_samples import Recorder, learning_cache, learning_clip, outcome, tiny_config

from est.cache import CacheWriter, open_cache
from est.cache.stores.manifest import Extraction
from est.errors import EstError, UsageError
from est.train import Run, evaluate, fit
from est.train.folds.annotations import Annotations
from est.train.unfinished import notes_on_extraction

COMMON = {"strength": 0.25, "failures": [("gone", "anger", "P2", "test")]}


def add_clips(path, *numbers, **fields):
    with CacheWriter.open(path) as writer:
        for number in numbers:
            writer.add(learning_clip(number, strength=0.25, **fields))


def test_a_run_goes_on_with_its_clips_though_the_cache_has_grown(tmp_path):
    cache = learning_cache(tmp_path / "cache.zarr", 24, **COMMON)
    fit(cache, tmp_path / "whole", tiny_config())
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", tiny_config(), watch=Recorder(5))
    add_clips(cache, 24, 25, 26)
    add_clips(cache, 27, label="a class of its own", subject="somebody else", split="test")
    watch = Recorder()
    fit(None, tmp_path / "run", resume=True, watch=watch)
    assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
    assert [line for line in watch.said if "has 4 clips more than when" in line]
    scored = evaluate(tmp_path / "run")
    assert scored.scores.war == evaluate(tmp_path / "whole").scores.war
    assert len(scored.predictions) == len(evaluate(tmp_path / "whole").predictions)


def test_clips_of_the_run_that_have_changed_are_refused_as_before(tmp_path):
    cache = learning_cache(tmp_path / "cache.zarr", 24, **COMMON)
    with pytest.raises(KeyboardInterrupt):
        fit(cache, tmp_path / "run", tiny_config(), watch=Recorder(5))
    add_clips(cache, 24, 25)
    with CacheWriter.open(cache) as writer:
        writer.update("clip003", subject="another person")
    with pytest.raises(EstError, match="have changed since"):
        fit(None, tmp_path / "run", resume=True)


def test_rows_of_some_clips_keep_their_places_in_the_cache(tmp_path):
    table = Annotations.from_cache(open_cache(learning_cache(tmp_path / "cache.zarr", 6, **COMMON)))
    some = table.only(["gone", "clip004", "clip001", "not there"])
    assert some.ids.tolist() == ["clip001", "clip004", "gone"]
    assert some.place.tolist() == [1, 4, -1]
    assert some.labels == table.labels
    np.testing.assert_array_equal(some.span, table.span[[1, 4, 6]])


def test_an_extraction_that_did_not_end_is_said_and_kept_in_the_run(tmp_path):
    cache = learning_cache(tmp_path / "cache.zarr", 24, **COMMON)
    assert notes_on_extraction(open_cache(cache)) == [], "caches of earlier code say nothing of it"
    with CacheWriter.open(cache) as writer:
        assert "is being written by another process" in notes_on_extraction(open_cache(cache))[0]
        writer.begin(Extraction(inputs=31, left=7))
        (note,) = notes_on_extraction(open_cache(cache))
        assert (
            "is being extracted by another process: 7 of 31 inputs are missing, and this learns from the 24 clips"
            in note
        )
    (note,) = notes_on_extraction(open_cache(cache))
    assert "is incomplete: 7 of 31 inputs are missing" in note
    watch = Recorder()
    fit(cache, tmp_path / "run", tiny_config(epochs=1), watch=watch)
    assert note in watch.warned
    assert note in Run.open(tmp_path / "run").facts["protocol"]["notes"]
    with CacheWriter.open(cache) as writer:
        writer.begin(Extraction(inputs=31, left=0))
    assert notes_on_extraction(open_cache(cache)) == []


def test_a_refusal_says_that_clips_are_missing(tmp_path):
    cache = learning_cache(tmp_path / "cache.zarr", 0)
    add_clips(cache, *range(6), label="anger")
    with pytest.raises(UsageError) as refused:
        fit(cache, tmp_path / "run", tiny_config())
    assert "missing" not in refused.value.message, "the extraction has ended, as far as is known"
    relabel = refused.value.remedy
    with CacheWriter.open(cache) as writer:
        writer.begin(Extraction(inputs=48, left=42))
        with pytest.raises(UsageError, match="is being extracted by another process: 42 of 48 inputs") as refused:
            fit(cache, tmp_path / "run", tiny_config())
        assert refused.value.remedy.startswith("wait until the extraction has ended")
    with pytest.raises(
        UsageError, match=r"All 6 labelled clips are 'anger'.* is not completely extracted: 42 of 48 inputs"
    ) as refused:
        fit(cache, tmp_path / "run", tiny_config())
    assert refused.value.remedy.startswith("the same est extract command again")
    assert refused.value.remedy.endswith(relabel)


def test_a_batch_that_missing_clips_would_fill_says_so(tmp_path):
    cache = learning_cache(tmp_path / "cache.zarr", 24, **COMMON)
    with CacheWriter.open(cache) as writer:
        writer.begin(Extraction(inputs=48, left=24))
    config = tiny_config()
    config = replace(config, loop=replace(config.loop, batch=40))
    with pytest.raises(UsageError, match="24 of 48 inputs are missing"):
        fit(cache, tmp_path / "run", config)
