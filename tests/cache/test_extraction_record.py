"""A cache records what its last extraction was to do, and how many inputs it has left; whoever asks who writes it keeps nobody out."""

from __future__ import annotations

import os

import pytest
from cache_samples import make_clip, sample_recipes

from est.cache import CacheWriter, Failure, convert_cache, merge_caches, open_cache
from est.cache.reading.summary import summarise
from est.cache.stores.lock import WriterLock, writer_of
from est.cache.stores.manifest import Extraction
from est.commands.caches.infopage import page


def begun(path, *numbers, inputs, **settings):
    """Make a cache by an extraction of so many inputs that stops after these."""
    with CacheWriter.open(
        path, sample_recipes(), extraction=Extraction(inputs=inputs, left=inputs), **settings
    ) as writer:
        writer.begin(Extraction(inputs=inputs, left=inputs))
        for number in numbers:
            writer.one_less()
            writer.add(make_clip(number))
    return path


def test_what_is_left_is_committed_with_the_clips(cache_path):
    recipes = sample_recipes()
    with CacheWriter.open(cache_path, recipes, extraction=Extraction(inputs=3, left=3)) as writer:
        assert open_cache(cache_path).extraction == Extraction(inputs=3, left=3), "before anything is committed"
        writer.one_less()
        writer.add(make_clip(2))
        assert open_cache(cache_path).extraction.left == 3
        writer.commit()
        assert (len(open_cache(cache_path)), open_cache(cache_path).extraction.left) == (1, 2)
        writer.one_less()
        writer.fail(Failure(id="broken", path="", stage="decode", error="no video"))
    assert open_cache(cache_path).extraction == Extraction(inputs=3, left=1)
    assert "  missing     1" in page(summarise(open_cache(cache_path))).splitlines()
    begun(cache_path, 3, inputs=1)
    assert open_cache(cache_path).extraction == Extraction(inputs=1, left=0)


def test_an_extraction_with_nothing_to_do_only_ends_one_that_had(cache_path):
    begun(cache_path, 2, 3, inputs=2)
    before = open_cache(cache_path).commit_id
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        writer.begin(Extraction(inputs=1, left=0))
    assert open_cache(cache_path).extraction == Extraction(inputs=2, left=0)
    if cache_path.suffix == ".zarr":
        assert open_cache(cache_path).commit_id == before, "nothing was written"
    begun(cache_path, inputs=5)
    assert open_cache(cache_path).extraction.left == 5
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        writer.begin(Extraction(inputs=2, left=0))
    assert open_cache(cache_path).extraction == Extraction(inputs=2, left=0)


def test_copies_know_it_and_earlier_caches_do_not(tmp_path):
    one, two = begun(tmp_path / "one.zarr", 2, inputs=4), begun(tmp_path / "two.h5", 3, 4, inputs=2)
    convert_cache(one, tmp_path / "copy.h5")
    assert open_cache(tmp_path / "copy.h5").extraction == Extraction(inputs=4, left=3)
    merge_caches([one, two], tmp_path / "both.zarr")
    assert open_cache(tmp_path / "both.zarr").extraction == Extraction(inputs=6, left=3)
    with CacheWriter.open(tmp_path / "old.zarr", sample_recipes()) as writer:
        writer.one_less()
        writer.add(make_clip(5))
    assert open_cache(tmp_path / "old.zarr").extraction is None
    merge_caches([two, tmp_path / "old.zarr"], tmp_path / "ended.zarr")
    assert open_cache(tmp_path / "ended.zarr").extraction is None


def test_who_writes_a_cache_is_known_without_disturbing(tmp_path):
    path = tmp_path / "c.zarr"
    assert writer_of(path) is None
    lock = WriterLock(path)
    lock.acquire()
    assert f"process {os.getpid()} " in writer_of(path)
    lock.release()
    assert writer_of(path) is None
    lock.path.write_text("left by a process that was killed")
    assert writer_of(path) is None


@pytest.mark.parametrize("asked", [1, 2])
def test_a_writer_waits_for_whoever_only_asks(tmp_path, asked, monkeypatch):
    import fcntl

    held, real = [], fcntl.flock

    def flock(descriptor, kind):
        if kind == fcntl.LOCK_EX | fcntl.LOCK_NB and len(held) < asked:
            held.append(kind)
            raise BlockingIOError
        return real(descriptor, kind)

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = WriterLock(tmp_path / "c.zarr")
    lock.acquire()
    lock.release()
    assert len(held) == asked
