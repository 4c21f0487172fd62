"""Two writers whom the locks let in, as on a network file system whose locks hold on each machine alone."""

import pytest
from cache_samples import make_cache, make_clip

from est.cache import CacheWriter, open_cache, verify_cache
from est.cache.stores import lock
from est.errors import CacheLocked, EstError


def test_of_two_writers_whom_the_locks_let_in_the_one_that_commits_first_wins(cache_path, monkeypatch):
    make_cache(cache_path, range(3))
    first = CacheWriter.open(cache_path)
    monkeypatch.setattr(lock, "SUFFIX", ".lock of the other machine")
    second = CacheWriter.open(cache_path)
    first.add(make_clip(5))
    second.add(make_clip(6))
    second.commit()
    with pytest.raises(CacheLocked, match="locks of this file system do not hold between machines") as caught:
        first.commit()
    assert "merge" in caught.value.remedy
    second.add(make_clip(7))
    second.close()
    first.close()  # which has nothing left to say
    assert open_cache(cache_path).ids == [make_clip(index).id for index in (0, 1, 2, 6, 7)]
    assert verify_cache(cache_path).problems == []


def test_a_writer_does_not_fold_what_another_one_has_written(tmp_path, monkeypatch):
    path = make_cache(tmp_path / "cache.h5", range(3))
    first = CacheWriter.open(path)
    first.add(make_clip(5))
    first.commit()
    first.commit()
    monkeypatch.setattr(lock, "SUFFIX", ".lock of the other machine")
    with CacheWriter.open(path) as second:
        second.add(make_clip(6))
    with pytest.raises(EstError):
        first.close()
    assert open_cache(path).ids == [make_clip(index).id for index in (0, 1, 2, 5, 6)]
    assert verify_cache(path).problems == []
