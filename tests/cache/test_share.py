"""`est cache convert --share`: neither the size and time of a file nor the order of clips tells which clip is whose."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cache_samples import make_clip, make_failure, sample_recipes

from est.cache import CacheWriter, convert_cache, merge_caches, open_cache, verify_cache
from est.cache.recipe import KINDS, Recipes, unnamed
from est.cache.trained import TrainedOn
from est.encoders import kinds
from est.encoders.weights import LICENCES

CLIPS = range(2, 14)


@pytest.fixture
def cache(tmp_path):
    """Twelve clips, of which weights have learnt from the even ones, and four failures."""
    record = TrainedOn(clips=tuple(make_clip(index).id for index in CLIPS if index % 2 == 0), how="est tune")
    recipes = sample_recipes()
    gap = replace(recipes.features["gap"], trained_on=record.fingerprint)
    path = tmp_path / "c.zarr"
    with CacheWriter.open(path, Recipes(frames=recipes.frames, features={"gap": gap}), trained_on=[record]) as writer:
        for index in CLIPS:
            writer.add(make_clip(index))
        for index in range(20, 24):
            writer.fail(make_failure(index))
    return path


def rows(path):
    """Return each clip's place in the other cache, told by its rows."""
    cache = open_cache(path)
    return [cache.clip(place).features["gap"].tobytes() for place in range(len(cache))]


def test_files_and_order_are_not_told(cache, tmp_path, store):
    out = convert_cache(cache, tmp_path / f"shared{store}", share=True, seed=3)
    shared = open_cache(out)
    assert not np.asarray(shared.clips.source_bytes).any()
    assert not np.asarray(shared.clips.source_mtime_ns).any()
    assert all(failure.source == type(failure.source)() for failure in shared.failures)
    assert shared.ids == [f"clip{number:06d}" for number in range(12)]
    assert rows(out) != rows(cache)
    assert sorted(rows(out)) == sorted(rows(cache))
    assert [one.id for one in shared.failures] == [f"failure{number:06d}" for number in range(4)]
    assert sorted(one.fold for one in shared.failures) == sorted(one.fold for one in open_cache(cache).failures)
    assert verify_cache(out).problems == []


def test_labels_and_records_go_with_the_rows(cache, tmp_path):
    out = convert_cache(cache, tmp_path / "shared.zarr", share=True, seed=3)
    before, shared = open_cache(cache), open_cache(out)
    told = dict(zip(rows(cache), zip(before.ids, before.clips.label_names, strict=True), strict=True))
    own = [told[row] for row in rows(out)]
    assert shared.clips.label_names == [label for _, label in own]
    learnt = set(before.trained_on("gap").clips)
    assert shared.trained_on("gap").clips == tuple(
        clip_id for clip_id, (name, _) in zip(shared.ids, own, strict=True) if name in learnt
    )


def test_the_order_is_random_and_is_not_kept(cache, tmp_path, monkeypatch):
    drawn = iter((3, 3, 4))
    monkeypatch.setattr("secrets.randbits", lambda bits: next(drawn))
    one, same, other = (
        rows(convert_cache(cache, tmp_path / f"{name}.zarr", share=True)) for name in ("one", "same", "other")
    )
    assert one == same != other
    assert rows(convert_cache(cache, tmp_path / "plain.zarr")) == rows(cache)


def test_people_keep_apart_under_names_that_nobody_has(cache, tmp_path):
    """Halves can be divided by person as before; two copies call one person by two names."""
    before = open_cache(cache)
    told = dict(zip(rows(cache), before.clips.subject, strict=True))
    copies = [convert_cache(cache, tmp_path / f"{name}.zarr", share=True) for name in ("one", "other")]
    names = []
    for copy in copies:
        pairs = set(zip((told[row] for row in rows(copy)), open_cache(copy).clips.subject, strict=True))
        assert len(pairs) == len({mine for mine, _ in pairs}) == len({theirs for _, theirs in pairs}) > 1
        names.append({theirs for _, theirs in pairs})
    assert not names[0] & names[1]
    assert not (names[0] | names[1]) & set(before.clips.subject)


def test_files_of_weights_lose_their_names_and_keep_their_digests(tmp_path):
    """A file of weights may be named after a person; published weights keep the name by which they are loaded."""
    names = {"anna.zarr": "anna_schmidt.pt", "bert.zarr": "bert.safetensors"}
    for number, (name, weights) in enumerate(names.items()):
        recipes = sample_recipes()
        gap = replace(recipes.features["gap"], weights=weights, weights_digest="0123")
        with CacheWriter.open(tmp_path / name, Recipes(frames=recipes.frames, features={"gap": gap})) as writer:
            writer.add(make_clip(2 + number))
    merge_caches([tmp_path / name for name in names], tmp_path / "all.zarr", allow=["gap.weights"])
    shared = open_cache(convert_cache(tmp_path / "all.zarr", tmp_path / "shared.zarr", share=True))
    (made,) = shared.recipes.features.values()
    assert (made.weights, made.weights_digest) == ("FILE", "0123")
    assert shared.environment["merged"] == [{"difference": "gap.weights: others there"}]
    assert {unnamed(name) for name in names.values()} == {"FILE"}


def test_published_weights_keep_their_names():
    assert set(KINDS) == {"hub", *kinds.KINDS}
    for name in (*LICENCES, *kinds.KINDS.values(), "timm:resnet10t=random", "hub:me/encoder"):
        assert unnamed(name) == name
