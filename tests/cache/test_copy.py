"""Merging and converting: a copy holds the same rows, appears whole or not at all, and is never made of damaged data."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import h5py
import numpy as np
import pytest
from cache_samples import LABELS, clip_contents, contents, expected_clip, leftovers, make_failure, stored_files
from watch_samples import Counting

from est.cache import CacheWriter, Layout, Source, convert_cache, merge_caches, open_cache, verify_cache
from est.cache.stores.disk import Disk
from est.errors import CacheDamaged, CacheError, RecipeMismatch, UsageError


def sound(path):
    """Open a cache that verifies and beside which nothing is left."""
    assert verify_cache(path).problems == []
    assert leftovers(path) == []
    return open_cache(path)


@pytest.fixture
def two(tmp_path, make_cache):
    """A Zarr cache of clips 0 to 3 and an HDF5 cache of clips 4 to 8, with crops."""
    first = make_cache(tmp_path / "first.zarr", range(4), crops=True, failures=[30, 6])
    return first, make_cache(tmp_path / "second.h5", range(4, 9), crops=True, failures=[31, 30])


@pytest.fixture
def out(tmp_path, store):
    return tmp_path / f"all{store}"


def test_merging_joins_in_order(two, out, make_clip):
    watch = Counting()
    assert merge_caches(two, out, watch=watch) == []
    cache = sound(out)
    assert cache.ids == [make_clip(index).id for index in range(9)]
    for index in range(9):
        assert clip_contents(cache, index) == expected_clip(make_clip(index, crops=True))
        assert cache.clips.row(index)["label"] == make_clip(index).label
    assert [failure.id for failure in cache.failures] == [make_failure(31).id, make_failure(30).id]
    assert watch.seen == [(done, 9) for done in range(1, 10)]
    assert "merged" not in cache.environment
    assert all(sound(path) for path in two)


def test_merging_equals_extracting_at_once(tmp_path, out, make_cache):
    parts = [make_cache(tmp_path / "a.h5", range(3)), make_cache(tmp_path / "b.zarr", range(3, 7))]
    merge_caches(parts, out)
    assert stored_files(out) == stored_files(make_cache(tmp_path / f"once{out.suffix}", range(7)))


def test_labels_are_merged_by_name(tmp_path, out, make_clip, sample_recipes):
    for name, labels, index in [("a", ["sad", "happy"], 2), ("b", ["happy", "awe", "sad", "unused"], 3)]:
        with CacheWriter.open(tmp_path / f"{name}.zarr", sample_recipes(), labels=labels) as writer:
            writer.add(make_clip(index, label="sad"))
    merge_caches([tmp_path / "a.zarr", tmp_path / "b.zarr"], out)
    cache = sound(out)
    assert cache.labels == ("sad", "happy", "awe", "unused")
    assert cache.clips.label_names == ["sad", "sad"]


def test_targets_are_merged_and_expected_to_be_the_same(tmp_path, out, make_clip, sample_recipes):
    for name, targets, index in [("a", ["x", "y"], 2), ("b", ["x", "y"], 3), ("c", ["y", "x"], 4)]:
        with CacheWriter.open(tmp_path / f"{name}.h5", sample_recipes(), targets=targets) as writer:
            writer.add(make_clip(index, target=None if index == 3 else [0.5, index]))
    merge_caches([tmp_path / "a.h5", tmp_path / "b.h5"], out)
    np.testing.assert_array_equal(sound(out).clips.target, [[0.5, 2], [np.nan, np.nan]])
    with pytest.raises(RecipeMismatch, match=r"has the targets \['x', 'y'\], .* has \['y', 'x'\]"):
        merge_caches([tmp_path / "a.h5", tmp_path / "c.h5"], tmp_path / "no.zarr")


def test_duplicates(tmp_path, store, make_cache, make_clip, sample_recipes):
    first = make_cache(tmp_path / "first.zarr", range(4))
    second = tmp_path / "second.h5"
    with CacheWriter.open(second, sample_recipes()) as writer:
        for index in (2, 7, 3):
            writer.add(make_clip(index, version=1))
    with pytest.raises(CacheError, match=r"Clip 'set/clip 002' is in .*first.zarr and in .*second.h5") as error:
        merge_caches([first, second], tmp_path / f"no{store}")
    assert "--duplicates first" in error.value.remedy
    assert not (tmp_path / f"no{store}").exists()
    for policy, order in [
        ("first", [(0, 0), (1, 0), (2, 0), (3, 0), (7, 1)]),
        ("last", [(0, 0), (1, 0), (2, 1), (7, 1), (3, 1)]),
    ]:
        out = tmp_path / f"with the {policy}{store}"
        merge_caches([first, second], out, duplicates=policy)
        cache = sound(out)
        assert cache.ids == [make_clip(index).id for index, _ in order]
        for place, (index, version) in enumerate(order):
            assert clip_contents(cache, place) == expected_clip(make_clip(index, version=version))
    with pytest.raises(UsageError, match="duplicates is refuse, first or last, found 'both'"):
        merge_caches([first], tmp_path / "x.zarr", duplicates="both")


def made_otherwise(path, make_clip, sample_recipes, indices, environment, **frames):
    with CacheWriter.open(path, sample_recipes(**frames), environment=environment) as writer:
        for index in indices:
            writer.add(make_clip(index))
    return path


def test_other_recipes_are_refused_or_recorded(tmp_path, out, make_clip, sample_recipes):
    first = made_otherwise(tmp_path / "a.zarr", make_clip, sample_recipes, [1], {"device": "cpu"})
    second = made_otherwise(
        tmp_path / "b.zarr", make_clip, sample_recipes, [2], {"device": "cpu"}, size=112, decoder="pyav"
    )
    with pytest.raises(RecipeMismatch, match="decoder: opencv here, pyav there, size: 224 here, 112 there") as error:
        merge_caches([first, second], out)
    assert "--allow FIELD" in error.value.remedy
    with pytest.raises(RecipeMismatch, match="other settings: decoder: opencv here, pyav there"):
        merge_caches([first, second], out, allow=["size"])
    assert not out.exists()
    allowed = merge_caches([first, second], out, allow=["size", "decoder"])
    differences = ["decoder: opencv here, pyav there", "size: 224 here, 112 there"]
    assert allowed == [f"b.zarr: {difference}" for difference in differences]
    cache = sound(out)
    assert cache.recipes.frames == replace(open_cache(first).recipes.frames, decoder="auto"), "as each clip says"
    assert cache.environment == {
        "device": "cpu",
        "merged": [{"cache": "b.zarr", "difference": difference} for difference in differences],
    }
    third = made_otherwise(tmp_path / "c.zarr", make_clip, sample_recipes, [3], {"device": "cuda"})
    again = tmp_path / "again.h5"
    decoder = "decoder: opencv here, auto there"
    assert merge_caches([third, out], again) == [], "each clip says which decoder read it"
    assert sound(again).environment["merged"] == [
        *({"cache": "b.zarr", "difference": difference} for difference in differences),
        {"cache": out.name, "difference": decoder},
        {"cache": out.name, "difference": "device: cuda here, cpu there"},
    ]


def test_settings_that_differ_are_refused(tmp_path, two, make_cache, make_clip):
    plain = make_cache(tmp_path / "plain.zarr", [20])
    with pytest.raises(RecipeMismatch, match=r"first.zarr has crops and .*plain.zarr has none") as error:
        merge_caches([plain, two[0]], tmp_path / "x.zarr")
    assert error.value.remedy == f"est cache convert {two[0]} NEW --no-crops, then merge that"
    both = make_cache(tmp_path / "both.zarr", [21], features=("gap", "map"))
    with pytest.raises(RecipeMismatch, match=r"map \(only in one\): absent here, present there"):
        merge_caches([plain, both], tmp_path / "x.zarr")
    with pytest.raises(UsageError, match="There is nothing to merge"):
        merge_caches([], tmp_path / "x.zarr")


@pytest.mark.parametrize(
    "copy",
    [
        lambda two, out, disk: merge_caches(two, out, disk=disk),
        lambda two, out, disk: convert_cache(two[0], out, disk=disk),
    ],
)
def test_a_copy_comes_whole_or_not_at_all(two, out, copy):
    class Full(Disk):
        left = 40

        def write(self, path, data):
            self.left -= 1
            if self.left < 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().write(path, data)

    before = [contents(path) for path in two]
    names = sorted(os.listdir(out.parent))
    with pytest.raises(CacheError, match="No space is left"):
        copy(two, out, Full())
    assert sorted(os.listdir(out.parent)) == names
    assert [contents(path) for path in two] == before
    copy(two, out, None)
    assert len(sound(out)) >= 4


def test_a_copy_does_not_write_over_anything(two, tmp_path, make_cache):
    there = make_cache(tmp_path / "there.h5", range(2))
    file = tmp_path / "file.zarr"
    file.write_text("mine")
    before = contents(there)
    for taken in (there, file, two[0]):
        for copy in (lambda out: merge_caches(two, out), lambda out: convert_cache(two[0], out)):
            with pytest.raises(UsageError, match="exists already") as error:
                copy(taken)
            assert "another name" in error.value.remedy
    with pytest.raises(UsageError, match="A cache is named"):
        convert_cache(two[0], tmp_path / "out.npz")
    assert contents(there) == before
    assert file.read_text() == "mine"


def test_converting_there_and_back(two, tmp_path):
    for source in two:
        before = contents(source)
        there = convert_cache(source, tmp_path / f"there {source.stem}.h5")
        back = convert_cache(there, tmp_path / f"back {source.stem}.zarr")
        assert contents(sound(there).path) == before
        assert contents(sound(back).path) == before


def test_converting_gives_the_room_of_removed_clips_back(two, out, make_clip):
    with CacheWriter.open(two[1]) as writer:
        writer.remove([make_clip(index).id for index in (4, 7)])
        writer.add(make_clip(6, version=1, crops=True), replacing=True)
    convert_cache(two[1], out)
    cache = sound(out)
    kept = [make_clip(5, crops=True), make_clip(8, crops=True), make_clip(6, version=1, crops=True)]
    assert cache.ids == [clip.id for clip in kept]
    assert cache.num_frames == sum(clip.num_frames for clip in kept)
    assert cache.snapshot.manifest.commit.counts.clips == 3
    assert [clip_contents(cache, place) for place in range(3)] == [expected_clip(clip) for clip in kept]


def test_converting_to_another_type(tmp_path, out, make_clip, sample_recipes):
    source = tmp_path / "source.zarr"
    clip = make_clip(5, dtype="float32")
    with CacheWriter.open(source, sample_recipes(dtype="float32")) as writer:
        writer.add(clip)
    convert_cache(source, out, dtype="float16")
    cache = sound(out)
    assert cache.recipes.features["gap"].dtype == "float16"
    np.testing.assert_array_equal(cache.clip(0).features["gap"], clip.features["gap"].astype(np.float16))
    wide = sound(convert_cache(out, tmp_path / "wide.h5", dtype="float32"))
    np.testing.assert_array_equal(wide.clip(0).features["gap"], cache.clip(0).features["gap"])
    with pytest.raises(UsageError, match="float16 or float32, found 'int8'"):
        convert_cache(source, tmp_path / "x.zarr", dtype="int8")


def test_a_number_too_large_for_the_new_type_is_named(tmp_path, make_clip, sample_recipes):
    clip = make_clip(5, dtype="float32")
    frame = int(np.flatnonzero(clip.state)[3])
    clip.features["gap"][frame, 7] = 1e6
    with CacheWriter.open(tmp_path / "a.zarr", sample_recipes(dtype="float32")) as writer:
        writer.add(clip)
    with pytest.raises(
        CacheError, match=f"'set/clip 005', gap: frame {frame} is NaN, infinite or too large for float16"
    ):
        convert_cache(tmp_path / "a.zarr", tmp_path / "b.zarr", dtype="float16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zarr"]


def test_converting_a_subset_and_other_chunks(tmp_path, out, make_cache, make_clip):
    source = make_cache(tmp_path / "a.zarr", range(6), crops=True, features=("gap", "map"), layout=Layout())
    convert_cache(source, out, features=["map"], crops=False, chunk_mb=0.0625)
    cache = sound(out)
    assert (cache.features, cache.has_crops) == (["map"], False)
    assert cache.schema.frame_arrays()["map"].chunk_rows == 65536 // 24
    clip = make_clip(5, features=("gap", "map"))
    assert clip_contents(cache, 5) == expected_clip(replace(clip, features={"map": clip.features["map"]}))
    with pytest.raises(UsageError, match="has the features gap, map; asked for late"):
        convert_cache(source, tmp_path / "x.zarr", features=["gap", "late"])
    with pytest.raises(UsageError, match=r"A chunk has 0.0625 to 1024 MB, found 0.01"):
        convert_cache(source, tmp_path / "x.zarr", chunk_mb=0.01)
    with pytest.raises(UsageError, match="has no crops") as error:
        convert_cache(out, tmp_path / "x.zarr", crops=True)
    assert "extract with --crops" in error.value.remedy


def raw_bytes(path):
    """Return all bytes of a cache, file names included."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return b"\n".join(str(file.relative_to(path.parent)).encode() + file.read_bytes() for file in files)


def test_what_is_shared_tells_no_name_and_no_face(tmp_path, out, make_clip, sample_recipes):
    secrets = ["PlantedSubject", "planted/clip", "/videos/planted", "PlantedFailure", "planted error", "anna"]
    failure = replace(
        make_failure(9), id="PlantedFailure", path="/videos/planted 9", error="planted error", subject="PlantedSubject"
    )
    clips = [
        make_clip(
            index, crops=True, id=f"planted/clip {index}", path=f"/videos/planted {index}", subject="PlantedSubject"
        )
        for index in (3, 4, 5)
    ]
    for name, which, frames in [("anna.zarr", clips[:1], {}), ("rest.h5", clips[1:], {"smooth": 0.5})]:
        with CacheWriter.open(tmp_path / name, sample_recipes(**frames), labels=LABELS, crops=True) as writer:
            writer.fail(failure)
            for clip in which:
                writer.add(clip)
    source = tmp_path / "source.zarr"
    merge_caches([tmp_path / "rest.h5", tmp_path / "anna.zarr"], source, allow=["smooth"])
    images = [crop for clip in clips for crop in clip.crops if crop]
    before, shared = raw_bytes(source), raw_bytes(convert_cache(source, out, share=True, seed=7))
    for secret in [secret.encode() for secret in secrets] + images + [clip.source.digest for clip in clips]:
        assert secret in before, secret
        assert secret not in shared, secret
    cache = sound(out)
    assert cache.ids == ["clip000000", "clip000001", "clip000002"]
    assert not cache.has_crops
    (person,) = set(cache.clips.subject)  # one name, in the place of theirs
    assert person.startswith("person-")
    assert cache.failures == [replace(failure, id="failure000000", path="", error="", subject=person, source=Source())]
    assert cache.failures[0].label == "happy"
    assert not any(cache.clips.path)
    assert np.isnan(cache.load_column("landmarks")).all()
    there = [clips[1], clips[2], clips[0]]
    order = [there[place] for place in np.random.default_rng(7).permutation(3)]
    assert order != there
    assert cache.clips.label_names == [clip.label for clip in order]
    assert cache.environment["merged"] == [{"difference": "smooth: 0.5 here, 0.0 there"}]
    for place, clip in enumerate(order):
        assert np.array_equal(cache.clip(place).features["gap"], clip.features["gap"])
        assert np.array_equal(cache.clip(place).box, clip.box, equal_nan=True)
    with pytest.raises(UsageError, match="--share leaves out the crops"):
        convert_cache(source, tmp_path / "x.zarr", share=True, crops=True)


@pytest.mark.parametrize("copy", [lambda source, out: merge_caches([source], out), convert_cache])
def test_damaged_data_is_not_copied(two, tmp_path, copy):
    zarr_cache, hdf5_cache = two
    chunk = zarr_cache / "frames" / "gap" / "c.0.0"
    data = bytearray(chunk.read_bytes())
    data[70] ^= 4
    chunk.write_bytes(data)
    with h5py.File(hdf5_cache, "a") as file:
        file["crops/data"][3] ^= 1
    for source, name in ((zarr_cache, "gap"), (hdf5_cache, "crops")):
        with pytest.raises(CacheDamaged, match=rf"{name} of clip 'set/clip 00.' does not match its checksum") as error:
            copy(source, tmp_path / "out.zarr")
        assert error.value.remedy.endswith("--repair")
        assert not (tmp_path / "out.zarr").exists()
        assert leftovers(tmp_path / "out.zarr") == []


@pytest.mark.parametrize("copy", [lambda source, out: merge_caches([source], out), convert_cache])
def test_a_damaged_row_of_the_table_gets_no_new_checksum(two, tmp_path, copy):
    with h5py.File(two[1], "a") as file:
        file["clips/fold"][0] ^= 1
    with pytest.raises(
        CacheDamaged, match=r"the row of the clip table of 'set/clip 00.' does not match its checksum"
    ) as error:
        copy(two[1], tmp_path / "out.zarr")
    assert error.value.remedy.endswith("--repair")
    assert not (tmp_path / "out.zarr").exists()
