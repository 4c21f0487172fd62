"""A writer that ends by Ctrl-C or an error keeps whole clips, and whole clips only."""

from __future__ import annotations

import os
import signal
import threading

import pytest
from cache_samples import clip_contents, expected_clip, leftovers

from est.cache import CacheWriter, open_cache, verify_cache
from est.cache.interrupt import uninterrupted
from est.cache.writing import writer as writer_module
from est.errors import CacheError


@pytest.fixture(autouse=True)
def ctrl_c():
    """Let SIGINT raise KeyboardInterrupt, also where a shell started the tests in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def sound(path):
    """Open a cache that verifies."""
    assert verify_cache(path).problems == []
    return open_cache(path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_end_by_ctrl_c_or_an_error_keeps_what_is_whole(cache_path, store, make_clip, sample_recipes, error):
    def session():
        with CacheWriter.open(cache_path, sample_recipes()) as writer:
            writer.add(make_clip(3))
            writer.add(make_clip(4))
            raise error

    with pytest.raises(error):
        session()
    assert cache_path.exists() == (store == ".zarr")  # an HDF5 cache is folded by a normal end
    cache = sound(cache_path)
    assert [clip_contents(cache, place) for place in range(2)] == [expected_clip(make_clip(3 + k)) for k in range(2)]
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        writer.add(make_clip(5))
    assert len(sound(cache_path)) == 3
    assert leftovers(cache_path) == []


def test_ctrl_c_in_the_middle_of_adding_keeps_clips_whole(cache_path, make_clip, sample_recipes, monkeypatch):
    table = writer_module.Table
    append = table.append

    def interrupted(self, row):
        if row["id"] == make_clip(4).id:
            os.kill(os.getpid(), signal.SIGINT)
        return append(self, row)

    monkeypatch.setattr(table, "append", interrupted)

    def session():
        with CacheWriter.open(cache_path, sample_recipes()) as writer:
            for index in (3, 4, 5):
                writer.add(make_clip(index))

    with pytest.raises(KeyboardInterrupt):
        session()
    assert sound(cache_path).ids == [make_clip(3).id, make_clip(4).id]


def test_an_error_in_the_middle_of_adding_commits_nothing_of_it(cache_path, make_clip, sample_recipes, monkeypatch):
    def full(self, row):
        raise MemoryError

    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        writer.add(make_clip(3))
        writer.commit()
        monkeypatch.setattr(writer_module.Table, "append", full)
        with pytest.raises(MemoryError):
            writer.add(make_clip(4))
        monkeypatch.undo()
        with pytest.raises(CacheError, match=r"An earlier change of .* failed"):
            writer.commit()
    assert sound(cache_path).ids == [make_clip(3).id]


def test_ctrl_c_waits_for_the_end_of_a_change():
    done = []

    def change():
        with uninterrupted():
            with uninterrupted():
                os.kill(os.getpid(), signal.SIGINT)
                done.append("inner")
            done.append("outer")
        done.append("after")

    with pytest.raises(KeyboardInterrupt):
        change()
    assert done == ["inner", "outer"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_other_threads_change_nothing_about_ctrl_c():
    found = []

    def change():
        with uninterrupted():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=change)
    thread.start()
    thread.join()
    assert found == [signal.default_int_handler]
