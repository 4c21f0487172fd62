"""The writer: order, status, removing, replacing, updating, failures, groups of commits and resuming."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from cache_samples import (
    LABELS,
    SMALL,
    clip_contents,
    contents,
    expected_clip,
    leftovers,
    make_failure,
    stored_arrays,
)
from refusals import differs

from est.cache import CacheWriter, Source, open_cache, verify_cache
from est.cache.stores.disk import Disk
from est.cache.writing import writer as writer_module
from est.errors import CacheError, RecipeMismatch, UsageError


def sound(path):
    """Open a cache that verifies."""
    report = verify_cache(path)
    assert report.problems == []
    return open_cache(path)


class CountingDisk(Disk):
    """Remembers every file that was written."""

    def __init__(self):
        self.written = []

    def write(self, path, data):
        self.written.append(path)
        super().write(path, data)


def test_the_order_of_clips_is_that_of_adding(cache_path, make_clip, sample_recipes):
    order = [5, 1, 8, 3]
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        for index in order:
            writer.add(make_clip(index))
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        writer.add(make_clip(2))
        assert len(writer) == 5
        assert make_clip(8).id in writer
        assert make_clip(4).id not in writer
    assert sound(cache_path).ids == [make_clip(index).id for index in [*order, 2]]


def test_status_tells_new_unchanged_changed_and_failed(cache_path, make_clip, sample_recipes):
    clip, failure = make_clip(3), make_failure(30)
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        assert writer.status(clip.id, clip.source) == "new"
        writer.add(clip)
        writer.fail(failure)
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        assert writer.status(clip.id, clip.source) == "unchanged"
        assert writer.status(clip.id, replace(clip.source, digest=bytes(16))) == "unchanged"
        assert writer.status(clip.id, replace(clip.source, num_bytes=7)) == "changed"
        assert writer.status(clip.id, replace(clip.source, mtime_ns=7)) == "changed"
        assert writer.status(failure.id, failure.source) == "failed"
        assert writer.status(failure.id, replace(failure.source, mtime_ns=7)) == "changed"
        assert writer.status("set/clip", Source()) == "new"
        writer.remove([clip.id])
        assert writer.status(clip.id, clip.source) == "new"


def test_replacing_appends_and_forgets(cache_path, make_clip, make_cache, sample_recipes):
    make_cache(cache_path, range(6))
    newer = make_clip(2, version=1)
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        with pytest.raises(CacheError, match=r"is in .* already"):
            writer.add(newer)
        writer.add(newer, replacing=True)
        writer.add(make_clip(9), replacing=True)
    cache = sound(cache_path)
    assert cache.ids == [make_clip(index).id for index in (0, 1, 3, 4, 5, 2, 9)]
    assert clip_contents(cache, newer.id) == expected_clip(newer)
    assert clip_contents(cache, make_clip(3).id) == expected_clip(make_clip(3))
    assert [clip.id for clip in cache.iterate(max_bytes=1000)] == cache.ids


def test_replacing_within_one_commit(cache_path, make_clip, sample_recipes):
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        for version in range(3):
            writer.add(make_clip(2, version=version), replacing=True)
    cache = sound(cache_path)
    assert cache.ids == [make_clip(2).id]
    assert clip_contents(cache, 0) == expected_clip(make_clip(2, version=2))


def test_removing_leaves_the_others_as_they_are(cache_path, make_clip, make_cache):
    make_cache(cache_path, range(8))
    with CacheWriter.open(cache_path) as writer:
        writer.remove([make_clip(3).id, make_clip(5).id, make_clip(3).id])
        assert len(writer) == 6
        with pytest.raises(UsageError, match=r"has no clip 'set/clip 003', 'nobody'"):
            writer.remove([make_clip(1).id, make_clip(3).id, "nobody"])
        assert len(writer) == 6
    cache = sound(cache_path)
    assert cache.ids == [make_clip(index).id for index in (0, 1, 2, 4, 6, 7)]
    for index in (0, 1, 2, 4, 6, 7):
        assert clip_contents(cache, make_clip(index).id) == expected_clip(make_clip(index))
    assert cache.num_frames == sum(make_clip(index).num_frames for index in range(8))
    with CacheWriter.open(cache_path) as writer:
        writer.add(make_clip(3))
    assert sound(cache_path).ids[-1] == make_clip(3).id


def test_updates_say_what_changed(cache_path, make_clip, make_cache):
    make_cache(cache_path, range(6), targets=("a", "b"))
    clip = make_clip(4)
    with CacheWriter.open(cache_path) as writer:
        assert writer.update(clip.id, label=clip.label, subject=clip.subject, fold=clip.fold) == []
        said = writer.update(clip.id, label="awe", subject="Ä", split="all", fold=-1, path="/new", target=[0.5, 0.5])
        assert said[:5] == [
            "label: sad → awe",
            f"subject: {clip.subject} → Ä",
            "split: train → all",
            "fold: 4 → -1",
            f"path: {clip.path} → /new",
        ]
        assert said[5].endswith("→ [0.5, 0.5]")
        assert writer.update(make_clip(2).id, label=None) == ["label: neutral → None"]
    row = sound(cache_path).clips.row(clip.id)
    assert [row[name] for name in ("label", "subject", "split", "fold", "path")] == ["awe", "Ä", "all", -1, "/new"]
    assert row["target"] == [0.5, 0.5]
    assert sound(cache_path).labels == (*LABELS, "awe")
    assert sound(cache_path).clips.row(make_clip(2).id)["label"] is None
    assert clip_contents(open_cache(cache_path), clip.id) == expected_clip(clip)


def test_a_target_can_be_taken_back(cache_path, make_cache, make_clip):
    make_cache(cache_path, range(3), targets=("a", "b"))
    names = [make_clip(index).id for index in range(3)]
    with CacheWriter.open(cache_path) as writer:
        writer.update(names[1], target=[1, 0])
    with CacheWriter.open(cache_path) as writer:
        assert writer.update(names[1], target=None) == ["target: [1.0, 0.0] → None"]
        writer.commit()
        assert np.isnan(open_cache(cache_path).clips.target[1]).all()
        assert writer.update(names[1], target=None) == []
    assert np.isnan(sound(cache_path).clips.target).all()


def test_updates_that_make_no_sense_change_nothing(cache_path, make_cache, make_clip):
    make_cache(cache_path, range(3))
    before, clip = contents(cache_path), make_clip(1).id
    wrong = [
        ({"fps": 30.0}, "its fps cannot be updated: it belongs to the extraction"),
        ({"label": "joy", "state": 1}, "its state cannot be updated"),
        ({"target": [1.0]}, "its target cannot be updated: the cache has no such column"),
        ({"label": "joy", "fold": "second"}, "fold: expected int32, found 'second'"),
        ({"fold": 1.5}, "fold: expected int32, found 1.5"),
        ({"label": ""}, "its label is empty"),
        ({"subject": None}, "its subject is a text, found None"),
        ({"path": "a\0b"}, "contains a NUL character"),
    ]
    with CacheWriter.open(cache_path) as writer:
        for values, message in wrong:
            with pytest.raises(CacheError, match=message):
                writer.update(clip, **values)
        with pytest.raises(UsageError, match="has no clip 'nobody'"):
            writer.update("nobody", fold=1)
    assert contents(cache_path) == before


def test_edits_are_seen_at_once_and_only_after_their_commit(cache_path, make_clip, make_cache):
    make_cache(cache_path, range(6))
    old = contents(cache_path)
    with CacheWriter.open(cache_path) as writer:
        writer.update(make_clip(4).id, label="awe", fold=3)
        writer.update(make_clip(5).id, subject="new")
        writer.remove([make_clip(1).id])
        writer.add(make_clip(3, version=1), replacing=True)
        assert contents(cache_path) == old
        reader = open_cache(cache_path)
        writer.commit()
        new = sound(cache_path)
        assert new.clips.row(make_clip(4).id)["label"] == "awe"
        assert new.clips.row(make_clip(5).id)["subject"] == "new"
        assert new.ids == [make_clip(index).id for index in (0, 2, 4, 5, 3)]
        assert reader.ids == old["id"]
        assert reader.clips.row(make_clip(4).id)["label"] == "sad"
        assert clip_contents(reader, make_clip(3).id) == expected_clip(make_clip(3))
        writer.update(make_clip(4).id, label="sad")
        writer.commit()  # carries the new edit while the arrays take in the old ones
        writer.commit()
        assert sound(cache_path).clips.row(make_clip(4).id)["label"] == "sad"
        assert clip_contents(reader, make_clip(1).id) == expected_clip(make_clip(1))
    assert sound(cache_path).clips.row(make_clip(4).id)["fold"] == 3


def test_a_failure_is_forgotten_when_its_clip_is_added(cache_path, make_clip, sample_recipes):
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        for index in (3, 4, 5):
            writer.fail(make_failure(index))
        writer.fail(replace(make_failure(4), error="again"))
    assert [failure.error for failure in sound(cache_path).failures] == [
        make_failure(3).error,
        make_failure(5).error,
        "again",
    ]
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        writer.add(make_clip(3))
    cache = sound(cache_path)
    assert [failure.id for failure in cache.failures] == [make_clip(5).id, make_clip(4).id]
    assert cache.ids == [make_clip(3).id]


def test_commits_come_in_groups(tmp_path, make_clip, sample_recipes, monkeypatch):
    path = tmp_path / "a.zarr"
    clip_bytes = sum(rows.nbytes for rows in expected_arrays(make_clip(6)))
    monkeypatch.setattr(writer_module, "COMMIT_BYTES", 3 * clip_bytes)
    with CacheWriter.open(path, sample_recipes()) as writer:
        seen = []
        for number in range(7):
            writer.add(make_clip(6, id=f"clip {number}"))
            seen.append(len(open_cache(path)))
            assert writer.pending_bytes == (number + 1) % 3 * clip_bytes
    assert seen == [0, 0, 3, 3, 3, 6, 6]
    assert len(sound(path)) == 7


def expected_arrays(clip):
    return [*(getattr(clip, name) for name in ("state", "time", "box", "landmarks", "score")), *clip.features.values()]


def test_a_commit_falls_due_with_time(tmp_path, make_clip, sample_recipes, monkeypatch):
    path = tmp_path / "a.zarr"
    with CacheWriter.open(path, sample_recipes()) as writer:
        writer.add(make_clip(2))
        assert len(open_cache(path)) == 0
        monkeypatch.setattr(writer_module, "COMMIT_SECONDS", 0.0)
        writer.add(make_clip(3))
        assert len(open_cache(path)) == 2


def test_a_group_rewrites_the_tail_chunk_at_most(cache_path, store, make_clip, sample_recipes):
    disk = CountingDisk()
    if store == ".h5":  # continue a file, so that the staging's chunks do not begin at row 0
        with CacheWriter.open(cache_path, sample_recipes(), layout=SMALL) as writer:
            writer.add(make_clip(7))
    with CacheWriter.open(cache_path, sample_recipes(), layout=SMALL, disk=disk) as writer:
        schema, touched = writer.manifest.schema, {name: set() for name in writer.manifest.schema.arrays()}
        for index in range(2, 16, 2):
            counts = writer.manifest.commit.counts
            disk.written.clear()
            writer.add(make_clip(index + 20))
            writer.add(make_clip(index + 21))
            writer.commit()
            files = Counter(str(path.relative_to(writer.root)) for path in disk.written)
            assert set(files.values()) == {1}
            for name, spec in schema.arrays().items():
                chunks = {path for path in files if path.startswith(f"{name}/c.")}
                assert len(chunks & touched[name]) <= 1, name
                touched[name] |= chunks
                first = snapshot_first_row(writer, spec)
                new = writer.manifest.commit.counts.of(spec.axis) - first
                old = (counts.of(spec.axis) - first) // spec.chunk_rows
                assert len(chunks) == (-(-new // spec.chunk_rows) - old if new > counts.of(spec.axis) - first else 0)
    assert len(sound(cache_path)) == 14 + (store == ".h5")


def snapshot_first_row(writer, spec):
    base = writer.manifest.staging
    return base.base.of(spec.axis) if base is not None and base.commit else 0


def test_a_commit_without_a_change_writes_nothing(cache_path, make_cache):
    make_cache(cache_path, range(3))
    with CacheWriter.open(cache_path, disk=(disk := CountingDisk())) as writer:
        disk.written.clear()
        writer.commit()
        assert disk.written == []
    before = stored_arrays(cache_path), open_cache(cache_path).commit_id
    with CacheWriter.open(cache_path):
        pass
    assert (stored_arrays(cache_path), open_cache(cache_path).commit_id) == before
    assert leftovers(cache_path) == []


def test_labels_keep_their_order_and_new_ones_follow(cache_path, make_clip, sample_recipes):
    with CacheWriter.open(cache_path, sample_recipes(), labels=["b", "a"]) as writer:
        writer.add(make_clip(2, label="a"))
        writer.add(make_clip(3, label="z"))
    with CacheWriter.open(cache_path, sample_recipes(), labels=["a", "c", "b"]) as writer:
        writer.add(make_clip(4, label="m"))
    cache = sound(cache_path)
    assert cache.labels == ("b", "a", "z", "c", "m")
    assert cache.clips.label_names == ["a", "z", "m"]
    with CacheWriter.open(cache_path, sample_recipes(), labels=["new"]):
        pass
    assert sound(cache_path).labels == ("b", "a", "z", "c", "m", "new")


def test_resuming_in_many_sessions_equals_one(cache_path, make_clip, sample_recipes, make_cache):
    once = make_cache(cache_path.with_stem("once"), range(9))
    for upto in (3, 3, 5, 9):
        with CacheWriter.open(cache_path, sample_recipes(), labels=LABELS, layout=SMALL) as writer:
            for index in range(upto):
                clip = make_clip(index)
                if writer.status(clip.id, clip.source) == "new":
                    writer.add(clip)
    assert stored_arrays(cache_path) == stored_arrays(once)
    assert contents(cache_path) == contents(once)


def test_another_recipe_is_refused_and_the_fields_are_named(cache_path, make_cache, sample_recipes):
    make_cache(cache_path, range(3))
    before = contents(cache_path)
    with pytest.raises(RecipeMismatch) as error:
        CacheWriter.open(cache_path, sample_recipes(size=112, decoder="pyav"))
    assert re.search(differs("decoder", "opencv", "pyav"), error.value.message)
    assert re.search(differs("size", 224, 112), error.value.message)
    assert "another --out" in error.value.remedy
    with pytest.raises(RecipeMismatch, match=differs("gap.dtype", "float16", "float32")):
        CacheWriter.open(cache_path, sample_recipes(dtype="float32"))
    with pytest.raises(RecipeMismatch, match="also has the features gap") as error:
        CacheWriter.open(cache_path, sample_recipes(("map",)))
    assert "--features gap" in error.value.remedy
    with pytest.raises(RecipeMismatch, match=differs("crops", "none", "stored")):
        CacheWriter.open(cache_path, sample_recipes(), crops=True)
    with pytest.raises(RecipeMismatch, match=differs("targets", "none", "a")):
        CacheWriter.open(cache_path, sample_recipes(), targets=["a"])
    assert error.value.status == 2
    assert contents(cache_path) == before
    assert leftovers(cache_path) == []


def test_another_environment_is_listed_and_refused_on_request(cache_path, sample_recipes):
    then = {"versions": {"numpy": "2.3", "h5py": "3.15"}, "cpu": ["avx2"], "platform": "one"}
    now = {"versions": {"numpy": "2.4", "torch": "2.9"}, "cpu": ["avx2"], "platform": "two", "device": "cuda"}
    with CacheWriter.open(cache_path, sample_recipes(), environment=then):
        pass
    with CacheWriter.open(cache_path, sample_recipes(), environment=now) as writer:
        assert writer.environment_changes == ["versions.numpy: 2.3 then, 2.4 now"]
    assert open_cache(cache_path).environment == then
    with pytest.raises(CacheError, match=r"another environment: versions.numpy: 2.3 then, 2.4 now") as error:
        CacheWriter.open(cache_path, sample_recipes(), environment=now, strict=True)
    assert "--strict" in error.value.remedy
    with CacheWriter.open(cache_path, sample_recipes(), environment=then, strict=True) as writer:
        assert writer.environment_changes == []
