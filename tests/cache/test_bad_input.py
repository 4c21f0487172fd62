"""Whatever is wrong is said in a sentence, with the right exit status, and what is there stays as it is."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import numpy as np
import pytest
from cache_samples import contents, leftovers, make_failure

from est.cache import CacheWriter, Source, open_cache, verify_cache
from est.cache.stores.disk import Disk
from est.errors import CacheError, UsageError


def test_no_rights_to_write(cache_path, make_cache, make_clip, monkeypatch):
    make_cache(cache_path, range(2))
    before, opened = contents(cache_path), os.open

    def refused(path, flags, *args, **kwargs):
        if flags & (os.O_CREAT | os.O_RDWR | os.O_WRONLY):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refused)
    with pytest.raises(
        CacheError, match=r"lock cannot be created, so .* cannot be written: Permission denied"
    ) as error:
        CacheWriter.open(cache_path)
    assert "check the permissions" in error.value.remedy
    assert error.value.status == 1
    assert contents(cache_path) == before


@pytest.mark.parametrize(
    ("number", "message", "remedy"),
    [
        (errno.EACCES, "No permission to write", "check the permissions"),
        (errno.EROFS, "No permission to write", "check the permissions"),
        (errno.ENOSPC, "No space is left", "free some space, then run the same command again"),
        (errno.EDQUOT, "No space is left", "free some space"),
        (errno.EIO, "failed. What was committed is intact", "resumes from the last commit"),
    ],
)
def test_a_disk_that_refuses(cache_path, make_cache, make_clip, number, message, remedy):
    class Refusing(Disk):
        def write(self, path, data):
            raise OSError(number, os.strerror(number))

    make_cache(cache_path, range(3))
    before = contents(cache_path)

    def session():
        with CacheWriter.open(cache_path, disk=Refusing()) as writer:
            writer.add(make_clip(5))

    with pytest.raises(CacheError) as error:
        session()
    assert message in error.value.message
    assert "What was committed is intact." in error.value.message
    assert remedy in error.value.remedy
    assert contents(cache_path) == before
    with CacheWriter.open(cache_path) as writer:
        writer.add(make_clip(5))
    assert len(open_cache(cache_path)) == 4
    assert leftovers(cache_path) == []


def changed(clip, name, frame, value, dtype=None):
    """Return a clip with one value changed."""
    rows = clip.features[name] if name in clip.features else getattr(clip, name)
    rows = rows.astype(dtype or rows.dtype, copy=True)
    rows[frame] = value
    if name in clip.features:
        return replace(clip, features={**clip.features, name: rows})
    return replace(clip, **{name: rows})


def swapped(clip, name, function):
    rows = function(clip.features[name] if name in clip.features else getattr(clip, name))
    if name in clip.features:
        return replace(clip, features={**clip.features, name: rows})
    return replace(clip, **{name: rows})


FACE, GONE = 2, 3  # frames of the sample clip below: with a face, and without one

BAD_CLIPS = {
    "NaN": (lambda c: changed(c, "gap", (FACE, 3), np.nan), "'bad', gap: frame 2 is NaN, infinite"),
    "infinity": (lambda c: changed(c, "gap", FACE, np.inf), "'bad', gap: frame 2 is NaN, infinite"),
    "too large": (lambda c: changed(c, "gap", (FACE, 0), 70000.0, "float32"), "frame 2 is .* too large for float16"),
    "a frame more": (lambda c: swapped(c, "gap", lambda r: np.concatenate([r, r[:1]])), "gap: expected shape .6, 16.,"),
    "wider": (lambda c: swapped(c, "gap", lambda r: np.tile(r, 2)), r"gap: expected shape \(6, 16\), found \(6, 32\)"),
    "flat boxes": (lambda c: swapped(c, "box", np.ravel), r"box: expected shape \(6, 4\), found \(24,\)"),
    "integers": (lambda c: swapped(c, "gap", lambda r: r.astype(np.int8)), "gap: expected float16, found int8"),
    "float state": (lambda c: swapped(c, "state", lambda r: r.astype(float)), "state: expected uint8, found float64"),
    "objects": (lambda c: swapped(c, "score", lambda r: r.astype(object)), "score: expected float32, found object"),
    "state 3": (lambda c: changed(c, "state", FACE, 3), r"a state is 0, 1 or 2, found \[0, 1, 3\]"),
    "state 257": (lambda c: changed(c, "state", FACE, 257, "uint16"), "state: expected uint8, found numbers up to 257"),
    "row without a face": (lambda c: changed(c, "gap", GONE, 1.0), "gap: rows of frames without a face are zeros"),
    "box without a face": (lambda c: changed(c, "box", GONE, 1.0), "frames without a face have no box"),
    "landmark without a face": (lambda c: changed(c, "landmarks", GONE, 0.0), "without a face have no landmarks"),
    "no time": (lambda c: changed(c, "time", 0, np.nan), "every frame has a time in seconds, found NaN"),
    "no end of time": (lambda c: changed(c, "time", 0, np.inf), "found NaN or infinity"),
    "one more array": (
        lambda c: replace(c, features={**c.features, "map": c.score}),
        "has the arrays .*'map'.*expected",
    ),
    "one array less": (lambda c: replace(c, features={}), "has the arrays .*, expected .*'gap'"),
    "no id": (lambda c: replace(c, id=""), "Expected a clip id, found an empty one"),
    "surrogate id": (lambda c: replace(c, id="a\udcff"), r"its id 'a\\udcff' is not Unicode text"),
    "surrogate path": (lambda c: replace(c, path="\ud800"), "its path .* is not Unicode text"),
    "surrogate label": (lambda c: replace(c, label="\ud800"), "its label .* is not Unicode text"),
    "NUL subject": (lambda c: replace(c, subject="a\0"), "its subject .* contains a NUL character"),
    "no text": (lambda c: replace(c, split=None), "its split is a text, found None"),
    "empty label": (lambda c: replace(c, label=""), "its label is empty"),
    "short target": (lambda c: replace(c, target=[1.0]), r"has 2 finite numbers, found \[1.0\]"),
    "NaN target": (lambda c: replace(c, target=[1.0, np.nan]), "has 2 finite numbers"),
    "huge target": (lambda c: replace(c, target=[1.0, 1e300]), "has 2 finite numbers"),
    "declared": (lambda c: replace(c, declared=-1), "expected a number of declared frames"),
    "crops": (lambda c: replace(c, crops=[b"x"] * 6), "comes with crops, and the cache is made without"),
    "fold": (lambda c: replace(c, fold=2**40), "'bad', fold: expected int32, found 1099511627776"),
    "fold of text": (lambda c: replace(c, fold="1"), "fold: expected int32, found '1'"),
    "size": (lambda c: replace(c, size=(640, 480, 3)), r"size: expected int32 of shape \(2,\)"),
    "half pixels": (lambda c: replace(c, size=(640.5, 480)), "size: expected int32"),
    "digest": (lambda c: replace(c, source=Source(digest=b"abc")), r"source_digest: expected uint8 of shape \(16,\)"),
    "bytes": (lambda c: replace(c, source=Source(num_bytes=2**70)), "source_bytes: expected int64"),
}


@pytest.fixture(params=BAD_CLIPS)
def bad(request, make_clip):
    """A clip that no cache takes, and what is said of it."""
    clip = make_clip(0, frames=6, rng=np.random.default_rng(3), id="bad")
    state = np.array([1, 1, 1, 0, 1, 1], np.uint8)
    gone = state == 0
    clip = replace(
        clip,
        state=state,
        box=np.where(gone[:, None], np.float32(np.nan), np.float32(1)) * np.ones((6, 4), np.float32),
        landmarks=np.where(gone[:, None, None], np.float32(np.nan), np.float32(1)) * np.ones((6, 5, 2), np.float32),
        features={"gap": np.where(gone[:, None], 0, 1).astype(np.float16) * np.ones((6, 16), np.float16)},
    )
    change, message = BAD_CLIPS[request.param]
    return clip, change(clip), message


def test_a_clip_that_is_wrong_is_refused_whole(tmp_path, make_clip, sample_recipes, bad):
    good, wrong, message = bad
    path = tmp_path / "a.zarr"
    with CacheWriter.open(path, sample_recipes(), targets=("x", "y")) as writer:
        writer.add(make_clip(3))
        with pytest.raises(CacheError, match=message) as error:
            writer.add(wrong)
        assert error.value.message.endswith(".")
        assert error.value.status == 1
        writer.add(make_clip(4))
        writer.add(good)
    assert verify_cache(path).problems == []
    cache = open_cache(path)
    assert cache.ids == [make_clip(3).id, make_clip(4).id, "bad"]
    assert "" not in cache.labels


def test_crops_are_given_as_the_cache_keeps_them(cache_path, make_clip, sample_recipes):
    clip = make_clip(9, crops=True)
    (gone, *_), (face, *_) = np.flatnonzero(clip.state == 0), np.flatnonzero(clip.state)
    without, beside = list(clip.crops), list(clip.crops)
    without[face], beside[gone] = b"", b"\xff\xd8"
    with CacheWriter.open(cache_path, sample_recipes(), crops=True) as writer:
        for crops, message in [
            (None, "comes without crops, and the cache is made with"),
            (clip.crops[1:], f"has {clip.num_frames - 1} crops for {clip.num_frames} frames"),
            (without, f"frame {face} has a face without a crop"),
            (beside, f"frame {gone} has a face without a crop, or a crop without a face"),
        ]:
            with pytest.raises(CacheError, match=message):
                writer.add(replace(clip, crops=crops))
        writer.add(clip)
    assert open_cache(cache_path).crops(0) == list(clip.crops)


def test_duplicate_ids_are_refused(cache_path, make_clip, make_cache):
    make_cache(cache_path, range(3))
    before = contents(cache_path)
    with CacheWriter.open(cache_path) as writer:
        with pytest.raises(CacheError, match=r"A clip 'set/clip 001' is in .* already") as error:
            writer.add(make_clip(1, version=1))
        assert "its own id" in error.value.remedy
    assert contents(cache_path) == before


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"id": ""}, "Expected the id of an input that failed"),
        ({"id": "a\udcff"}, "its id .* is not Unicode text"),
        ({"stage": None}, "its stage is a text"),
        ({"label": ""}, "its label is empty"),
        ({"label": "\udcff"}, "its label .* is not Unicode text"),
        ({"subject": None}, "its subject is a text"),
        ({"split": "a\0"}, "its split .* contains a NUL character"),
        ({"fold": 1.5}, "fold: expected int32, found 1.5"),
        ({"fold": 2**31}, "fold: expected int32, found 2147483648"),
        ({"source": Source(mtime_ns=0.5)}, "source_mtime_ns: expected int64"),
    ],
)
def test_failures_that_cannot_be_recorded(tmp_path, sample_recipes, values, message):
    with CacheWriter.open(tmp_path / "a.h5", sample_recipes()) as writer:
        writer.fail(make_failure(3))
        with pytest.raises(CacheError, match=message):
            writer.fail(replace(make_failure(3), **values))
    assert open_cache(tmp_path / "a.h5").failures == [make_failure(3)]


@pytest.mark.parametrize("names", [["a", "a"], [""], ["\udcff"], ["a\0b"], [None]])
@pytest.mark.parametrize("kind", ["label", "target"])
def test_names_of_labels_and_targets(tmp_path, sample_recipes, kind, names):
    path = tmp_path / "a.zarr"
    with pytest.raises(UsageError, match=f"Each {kind} has a name of its own"):
        CacheWriter.open(path, sample_recipes(), **{f"{kind}s": names})
    assert list(tmp_path.iterdir()) == []
    with CacheWriter.open(path, sample_recipes()):
        pass
    if kind == "label":
        with pytest.raises(UsageError, match="Each label has a name of its own"):
            CacheWriter.open(path, sample_recipes(), labels=names)
        with CacheWriter.open(path, sample_recipes(), labels=["good"]):  # the lock is free again
            pass
