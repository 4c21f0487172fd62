"""Readers in other processes, beside a writer, and through the stores' own libraries."""

from __future__ import annotations

import multiprocessing
import pickle

import h5py
import numpy as np
import pytest
from cache_samples import LABELS, SMALL, clip_contents, contents, expected_clip, make_failure
from cache_samples import make_cache as write_cache

from est.cache import CacheWriter, open_cache, verify_cache
from est.cache.changes.repair import repair_cache
from est.cache.reading.summary import summarise
from est.errors import CacheDamaged, CacheError


@pytest.fixture
def written(cache_path, make_clip, sample_recipes):
    """A cache with maps, crops and failures, and the clips that went in."""
    clips = [make_clip(index, crops=True, features=("gap", "map")) for index in range(9)]
    recipes = sample_recipes(("gap", "map"))
    with CacheWriter.open(cache_path, recipes, labels=LABELS, crops=True, layout=SMALL) as writer:
        for clip in clips:
            writer.add(clip)
        writer.fail(make_failure(30))
    return open_cache(cache_path), clips


def test_pickled_it_shows_the_same_state_or_refuses(written, cache_path, make_clip, monkeypatch):
    cache, clips = written
    monkeypatch.chdir(cache_path.parent)
    packed = pickle.dumps(open_cache(cache_path.name))
    monkeypatch.chdir("/")
    again = pickle.loads(packed)
    assert again.commit_id == cache.commit_id
    assert clip_contents(again, 4) == expected_clip(clips[4])
    with CacheWriter.open(cache_path) as writer:
        writer.add(make_clip(40, crops=True, features=("gap", "map")))
    with pytest.raises(CacheError, match="has changed since it was opened in another process"):
        pickle.loads(packed)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_what_the_parent_opened(written, method):
    cache, clips = written
    assert cache.load("gap").rows.any()  # whatever handles this opens are in use before the fork
    receiver, sender = multiprocessing.get_context(method).Pipe(duplex=False)
    worker = multiprocessing.get_context(method).Process(target=_read_in_worker, args=(cache, sender))
    worker.start()
    found = receiver.recv()
    worker.join()
    assert worker.exitcode == 0
    assert found == expected_clip(clips[7])
    assert clip_contents(cache, 7) == expected_clip(clips[7])


def _read_in_worker(cache, sender):
    sender.send(clip_contents(cache, 7))


def test_the_store_opens_with_its_own_library(written, store):
    cache, clips = written
    group = cache.group()
    rows = group["frames/gap"][:]
    np.testing.assert_array_equal(rows, np.concatenate([clip.features["gap"] for clip in clips]))
    ids = group["clips/id"][:]
    assert [text.decode() if isinstance(text, bytes) else text for text in ids] == cache.ids
    if store == ".zarr":
        assert group.attrs["version"] == 2
        with pytest.raises(ValueError, match="read"):
            group["frames/gap"][0] = 1
    else:
        assert group.attrs["version"] == b"2"
        group.close()


def test_a_cache_that_is_being_written_has_no_group_yet(cache_path, store, make_clip, sample_recipes):
    if store == ".zarr":
        pytest.skip("a Zarr cache is one directory at any time")
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        writer.add(make_clip(3))
        writer.commit()
        cache = open_cache(cache_path)
        assert len(cache) == 1
        with pytest.raises(CacheError, match="are still in its staging folder"):
            cache.group()
    np.testing.assert_array_equal(open_cache(cache_path).group()["clips/count"][:], [make_clip(3).num_frames])


def test_a_reader_sees_the_commits_and_keeps_its_own(cache_path, make_clip, sample_recipes):
    readers = []
    with CacheWriter.open(cache_path, sample_recipes(), layout=SMALL) as writer:
        for index in range(2, 8):
            writer.add(make_clip(index))
            assert len(open_cache(cache_path)) == index - 2
            writer.commit()
            readers.append(open_cache(cache_path))
            for number, reader in enumerate(readers, start=1):
                assert len(reader) == number
                assert reader.load().rows.shape[0] == sum(make_clip(2 + k).num_frames for k in range(number))
                assert clip_contents(reader, number - 1) == expected_clip(make_clip(1 + number))


def test_a_finished_file_can_be_read_while_it_is_replaced(tmp_path, make_cache, make_clip):
    path = make_cache(tmp_path / "a.h5", range(5))
    reader, before = open_cache(path), contents(path)
    with CacheWriter.open(path) as writer:
        writer.remove([make_clip(2).id])
        writer.add(make_clip(9))
    assert len(open_cache(path)) == 5
    assert [clip_contents(reader, place) for place in range(5)] == before["clips"]


def test_a_cache_reads_the_same_in_a_folder_without_rights(cache_path, make_cache):
    before = contents(make_cache(cache_path, range(4)))
    cache_path.parent.chmod(0o500)
    try:
        assert contents(cache_path) == before
    finally:
        cache_path.parent.chmod(0o700)


def test_the_summary_counts_what_is_there(cache_path, make_cache, make_clip):
    make_cache(cache_path, range(10), failures=[30, 31])
    with CacheWriter.open(cache_path) as writer:
        writer.remove([make_clip(4).id])
    clips = [make_clip(index) for index in range(10) if index != 4]
    found = summarise(open_cache(cache_path))
    states = np.concatenate([clip.state for clip in clips])
    assert (found.clips, found.frames, found.removed) == (9, len(states), 1)
    assert found.labels == {name: sum(clip.label == name for clip in clips) for name in LABELS}
    assert found.unlabelled == sum(clip.label is None for clip in clips)
    assert found.detected == pytest.approx((states == 1).mean())
    assert found.interpolated == pytest.approx((states == 2).mean())
    assert found.without_face == sum(not clip.state.any() for clip in clips)
    assert found.incomplete == sum(clip.declared > clip.num_frames for clip in clips)
    assert found.failures == {"decode": 2}
    assert found.hours == pytest.approx(sum(float(c.time[-1] - c.time[0]) for c in clips if c.num_frames) / 3600)
    assert found.splits == {name: sum(clip.split == name for clip in clips) for name in ("train", "test")}
    assert found.folds == {fold: sum(clip.fold == fold for clip in clips) for fold in range(5)}
    assert found.folded
    assert found.num_bytes == sum(found.array_bytes.values()) > len(states) * 32


def test_offsets_of_crops_that_make_no_sense_are_damage(tmp_path, make_cache):
    path = make_cache(tmp_path / "a.h5", range(5), crops=True)
    for value in (-5, 2**60):
        with h5py.File(path, "a") as file:
            file["crops/offset"][3] = value
        with pytest.raises(CacheDamaged, match="the offsets of the crops"):
            open_cache(path).crops(2)


def test_a_file_that_this_process_has_open_already_can_be_read(tmp_path, make_cache):
    path = make_cache(tmp_path / "a.h5", range(3))
    before = contents(path)
    with h5py.File(path, "r"):
        assert contents(path) == before
        open_cache(path).group().close()


@pytest.mark.parametrize("code", [len(LABELS), -2])  # one would end in an IndexError, the other count from the end
def test_a_label_that_no_name_belongs_to_is_an_error(code, tmp_path):
    path = write_cache(tmp_path / "cache.zarr", range(1, 4))
    chunk = path / "clips" / "label" / "c.0"
    codes = np.fromfile(chunk, "<i4")
    codes[1] = code
    codes.tofile(chunk)
    said = rf"the label of the clip 'set/clip 002' is number {code} of {len(LABELS)}"
    with pytest.raises(CacheDamaged, match=said) as caught:
        open_cache(path)
    assert caught.value.remedy == f"est cache verify {path} --repair"
    assert verify_cache(path).damaged == ["set/clip 002"]
    repair_cache(path)
    assert open_cache(path).ids == ["set/clip 001", "set/clip 003"]


@pytest.mark.parametrize(("column", "number"), [("count", 2**37), ("start", -1), ("start", 2**62), ("count", -5)])
def test_a_clip_beyond_the_committed_rows_is_an_error(column, number, tmp_path):
    path = write_cache(tmp_path / "cache.zarr", range(1, 4))
    chunk = path / "clips" / column / "c.0"
    numbers = np.fromfile(chunk, "<i8")
    numbers[1] = number
    numbers.tofile(chunk)
    with pytest.raises(CacheDamaged, match="the clip 'set/clip 002' lies beyond the rows that were committed"):
        open_cache(path)
    assert verify_cache(path).damaged == ["set/clip 002"]
