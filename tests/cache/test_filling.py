"""Adding a feature array to clips that are there: seen when it is whole, continued where it was left."""

from __future__ import annotations

import numpy as np
import pytest
from cache_samples import SMALL, clip_contents, contents, expected_clip, leftovers, stored_arrays

from est.cache import CacheWriter, open_cache, verify_cache
from est.errors import CacheError, RecipeMismatch, UsageError

BOTH = ("gap", "map")


@pytest.fixture
def begun(cache_path, make_cache):
    """A finished cache of eight clips with one feature."""
    return make_cache(cache_path, range(8))


def fill(writer, make_clip, clips=None):
    """Fill `map` for some clips, or for all that are left; return how many."""
    filler = writer.fill("map", writer.missing_features.get("map") or writer._fillers["map"].recipe)
    done = 0
    while (clip_id := filler.next_clip) is not None and done != clips:
        clip = make_clip(int(clip_id[-3:]), features=BOTH)
        filler.add(clip_id, clip.features["map"], clip.state)
        done += 1
    return done


def resume(path, sample_recipes, **settings):
    return CacheWriter.open(path, sample_recipes(BOTH), layout=SMALL, **settings)


def test_a_second_array_is_added(begun, sample_recipes, make_clip):
    with resume(begun, sample_recipes) as writer:
        assert list(writer.missing_features) == ["map"]
        with pytest.raises(CacheError, match="lacks map for its earlier clips") as error:
            writer.add(make_clip(9, features=BOTH))
        assert "fill" in error.value.remedy
        assert fill(writer, make_clip) == 8
        assert open_cache(begun).features == ["gap"]
        writer.commit()
        assert open_cache(begun).features == ["gap", "map"]
        writer.add(make_clip(9, features=BOTH))
    cache = open_cache(begun)
    for place, index in enumerate([*range(8), 9]):
        assert clip_contents(cache, place) == expected_clip(make_clip(index, features=BOTH))
    assert verify_cache(begun).problems == []
    assert leftovers(begun) == []


def test_filled_equals_made_at_once(begun, cache_path, sample_recipes, make_clip, make_cache):
    with resume(begun, sample_recipes) as writer:
        fill(writer, make_clip)
    once = make_cache(cache_path.with_stem("once"), range(8), features=BOTH)
    assert stored_arrays(begun) == stored_arrays(once)
    assert contents(begun) == contents(once)


@pytest.mark.parametrize("parts", [[0, 8], [1, 1, 6], [3, 0, 5], [7, 1], [8, 0]])
def test_an_interrupted_filling_goes_on(begun, sample_recipes, make_clip, cache_path, make_cache, parts):
    for part in parts:
        before = contents(begun)
        with resume(begun, sample_recipes) as writer:
            if writer.missing_features or writer._fillers:
                assert fill(writer, make_clip, part) == part
        if part < 8 and part is not parts[-1]:
            assert contents(begun) == before
            assert verify_cache(begun).problems == []
    once = make_cache(cache_path.with_stem("once"), range(8), features=BOTH)
    assert contents(begun) == contents(once)
    assert leftovers(begun) == []


def test_removed_clips_are_passed_over(begun, sample_recipes, make_clip):
    with CacheWriter.open(begun) as writer:
        writer.remove([make_clip(index).id for index in (0, 3, 4)])
    with resume(begun, sample_recipes) as writer:
        assert fill(writer, make_clip, 1) == 1  # clip 1
    with resume(begun, sample_recipes) as writer:
        filler = writer.fill("map", sample_recipes(BOTH).features["map"])
        assert filler.next_clip == make_clip(2).id
        writer.remove([make_clip(2).id, make_clip(7).id, make_clip(1).id])
        assert filler.next_clip == make_clip(5).id
        assert fill(writer, make_clip) == 2
    cache = open_cache(begun)
    assert cache.ids == [make_clip(5).id, make_clip(6).id]
    for place, index in enumerate((5, 6)):
        assert clip_contents(cache, place) == expected_clip(make_clip(index, features=BOTH))
    assert verify_cache(begun).problems == []
    assert not cache.load("map").rows[: cache.clips.start[0]].any()


def test_a_filling_takes_the_next_clip_alone(begun, sample_recipes, make_clip):
    clip = make_clip(3, features=BOTH)
    rows, recipe = clip.features["map"], sample_recipes(BOTH).features["map"]
    with resume(begun, sample_recipes) as writer:
        filler = writer.fill("map", recipe)
        with pytest.raises(
            CacheError, match=r"in the order of the clips: expected 'set/clip 000', found 'set/clip 003'"
        ):
            filler.add(clip.id, rows, clip.state)
        fill(writer, make_clip, 3)
        wrong = [
            ((rows[1:], clip.state), "expected shape"),
            ((rows, clip.state[1:]), "expected the state of 16 frames"),
            ((np.full_like(rows, np.nan), clip.state), "frame 0 is NaN"),
            ((np.ones_like(rows), np.zeros_like(clip.state)), "rows of frames without a face are zeros"),
            ((rows.astype(int), clip.state), "expected float16, found int64"),
        ]
        for arguments, message in wrong:
            with pytest.raises(CacheError, match=f"Clip 'set/clip 003', map: {message}"):
                filler.add(clip.id, *arguments)
        assert filler.next_clip == clip.id
        fill(writer, make_clip)
        with pytest.raises(CacheError, match="expected None"):
            filler.add(clip.id, rows, clip.state)
    assert clip_contents(open_cache(begun), clip.id) == expected_clip(clip)


def test_what_cannot_be_filled_is_refused(begun, sample_recipes, make_clip):
    recipe = sample_recipes(BOTH).features["map"]
    with resume(begun, sample_recipes) as writer:
        with pytest.raises(CacheError, match="has the features 'gap' already"):
            writer.fill("gap", recipe)
        for name in ("box", "xxh3/gap", "ü", "crops"):
            with pytest.raises(UsageError, match="named by letters, digits and _"):
                writer.fill(name, recipe)
        with pytest.raises(UsageError, match="names the parent"):
            writer.fill("other", sample_recipes(BOTH, size=112).features["map"])
        fill(writer, make_clip, 2)
    with resume(begun, sample_recipes) as writer, pytest.raises(RecipeMismatch, match="with another recipe"):
        writer.fill("map", sample_recipes(BOTH, dtype="float32").features["map"])
    assert open_cache(begun).features == ["gap"]


def test_an_empty_cache_is_filled_at_once(cache_path, sample_recipes, make_clip):
    with CacheWriter.open(cache_path, sample_recipes()):
        pass
    with resume(cache_path, sample_recipes) as writer:
        assert writer.fill("map", sample_recipes(BOTH).features["map"]).next_clip is None
        writer.commit()
        writer.add(make_clip(4, features=BOTH))
    assert clip_contents(open_cache(cache_path), 0) == expected_clip(make_clip(4, features=BOTH))
    assert verify_cache(cache_path).problems == []


def test_two_arrays_are_filled_one_after_the_other(cache_path, make_cache, sample_recipes, make_clip):
    make_cache(cache_path, range(4), features=())
    assert open_cache(cache_path).features == []
    with resume(cache_path, sample_recipes) as writer:
        for name, recipe in dict(writer.missing_features).items():
            filler = writer.fill(name, recipe)
            for index in range(4):
                clip = make_clip(index, features=BOTH)
                filler.add(clip.id, clip.features[name], clip.state)
            writer.commit_if_due()
    cache = open_cache(cache_path)
    assert cache.features == ["gap", "map"]
    assert [clip_contents(cache, k) for k in range(4)] == [expected_clip(make_clip(k, features=BOTH)) for k in range(4)]


def test_filling_commits_in_groups(begun, sample_recipes, make_clip, monkeypatch):
    from est.cache.writing import writer as writer_module

    monkeypatch.setattr(writer_module, "COMMIT_BYTES", 1)
    with resume(begun, sample_recipes) as writer:
        filler = writer.fill("map", sample_recipes(BOTH).features["map"])
        for number in range(1, 5):
            clip = make_clip(number - 1, features=BOTH)
            filler.add(clip.id, clip.features["map"], clip.state)
            writer.commit_if_due()
            if clip.num_frames:
                assert writer.manifest.filling["map"].clips == number
        writer._broken = True  # as if killed here
    with resume(begun, sample_recipes) as writer:
        assert fill(writer, make_clip) == 4
    assert clip_contents(open_cache(begun), 2) == expected_clip(make_clip(2, features=BOTH))


def test_after_a_filling_the_same_staging_goes_on(begun, sample_recipes, make_clip):
    def stopped(work):
        with resume(begun, sample_recipes) as writer:
            work(writer)
            raise KeyboardInterrupt

    def add_and_edit(writer):
        writer.add(make_clip(9, features=BOTH))
        writer.update(make_clip(2).id, label="awe")
        writer.remove([make_clip(9).id, make_clip(5).id])

    for work in (
        lambda writer: fill(writer, make_clip),
        lambda writer: writer.add(make_clip(8, features=BOTH)),
        add_and_edit,
    ):
        with pytest.raises(KeyboardInterrupt):
            stopped(work)
        assert verify_cache(begun).problems == []
    with resume(begun, sample_recipes) as writer:
        writer.add(make_clip(10, features=BOTH))
    cache = open_cache(begun)
    kept = [0, 1, 2, 3, 4, 6, 7, 8, 10]
    assert cache.ids == [make_clip(index).id for index in kept]
    assert [clip_contents(cache, k) for k in range(9)] == [expected_clip(make_clip(k, features=BOTH)) for k in kept]
    assert cache.clips.row(2)["label"] == "awe"
    assert verify_cache(begun).problems == []
    assert leftovers(begun) == []
