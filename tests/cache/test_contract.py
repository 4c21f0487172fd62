"""The contract of both stores: what is written comes out, bit for bit, through every door of the reader."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cache_samples import LABELS, SMALL, clip_contents, expected_clip, make_failure

from est.cache import Cache, CacheWriter, FeatureRecipe, Recipes, open_cache, verify_cache
from est.cache.schema import NO_FACE
from est.errors import UsageError

FRAME_COLUMNS = ("box", "landmarks", "score", "time", "state")


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


def test_every_clip_comes_back(written):
    cache, clips = written
    assert len(cache) == 9
    assert cache.ids == [clip.id for clip in clips]
    assert cache.labels == LABELS
    assert cache.has_crops
    for place, clip in enumerate(clips):
        assert clip_contents(cache, place) == expected_clip(clip)
        assert clip_contents(cache, clip.id) == expected_clip(clip)
        found = cache.clip(place)
        assert (found.id, found.index) == (clip.id, place)
        np.testing.assert_array_equal(found.mask, clip.state != NO_FACE)
        assert found.features["map"].shape == (clip.num_frames, 3, 2, 2)
        assert found.features["map"].dtype == np.float16


def test_a_whole_array_is_the_clips_in_a_row(written):
    cache, clips = written
    for name in ("gap", "map"):
        loaded = cache.load(name)
        np.testing.assert_array_equal(loaded.rows, np.concatenate([clip.features[name] for clip in clips]))
        np.testing.assert_array_equal(loaded.mask, np.concatenate([clip.state != NO_FACE for clip in clips]))
        assert not loaded.rows[~loaded.mask].any()
        assert (~loaded.mask).any()
        for place, clip in enumerate(clips):
            start = cache.clips.start[place]
            rows = loaded.rows[start : start + cache.clips.count[place]]
            np.testing.assert_array_equal(rows, clip.features[name])
    assert cache.num_frames == sum(clip.num_frames for clip in clips)


@pytest.mark.parametrize("name", FRAME_COLUMNS)
def test_a_frame_column_is_the_clips_in_a_row(written, name):
    cache, clips = written
    found = cache.load_column(name)
    np.testing.assert_array_equal(found, np.concatenate([getattr(clip, name) for clip in clips]))
    assert found.dtype == {"time": np.float64, "state": np.uint8}.get(name, np.float32)


def test_the_clip_table_has_every_field(written):
    cache, clips = written
    for place, clip in enumerate(clips):
        row = cache.clips.row(place)
        for name in ("id", "path", "label", "subject", "split", "fold", "fps", "rotation", "mirrored", "first_frame"):
            assert row[name] == getattr(clip, name), name
        assert tuple(row["size"]) == clip.size
        assert (row["declared"], row["decoded"], row["count"]) == (clip.declared, clip.num_frames, clip.num_frames)
        assert (row["source_bytes"], row["source_mtime_ns"]) == (clip.source.num_bytes, clip.source.mtime_ns)
        assert bytes(row["source_digest"]) == clip.source.digest
    assert cache.clips.label_names == [clip.label for clip in clips]
    assert cache.clips.row(clips[3].id) == cache.clips.row(3)
    assert cache.clips.row(-1)["id"] == clips[-1].id
    with pytest.raises(AttributeError, match="no column 'colour'"):
        _ = cache.clips.colour


def test_crops_are_the_very_bytes(written):
    cache, clips = written
    for clip in clips:
        crops = cache.crops(clip.id)
        assert crops == list(clip.crops)
        assert [not crop for crop in crops] == [state == NO_FACE for state in clip.state]
    data, offsets = cache.crop_rows(0, cache.num_frames)
    assert data.tobytes() == b"".join(crop for clip in clips for crop in clip.crops)
    assert offsets[0] == 0
    assert offsets[-1] == len(data)


@pytest.mark.parametrize("max_bytes", [1, 3000, 20_000, 2**28])
def test_iterating_yields_every_clip_in_bounded_groups(written, max_bytes, monkeypatch):
    cache, clips = written
    largest = []
    read = Cache._read

    def measured(self, group, start, stop, features):
        largest.append((len(group), stop - start))
        return read(self, group, start, stop, features)

    monkeypatch.setattr(Cache, "_read", measured)
    found = list(cache.iterate(max_bytes=max_bytes))
    assert [clip.id for clip in found] == cache.ids
    for clip, expected in zip(found, clips, strict=True):
        np.testing.assert_array_equal(clip.features["gap"], expected.features["gap"])
        np.testing.assert_array_equal(clip.box, expected.box)
    row_bytes = 16 * 2 + 12 * 2 + 100
    assert all(frames * row_bytes <= max_bytes or clips_read == 1 for clips_read, frames in largest)
    if max_bytes == 2**28:
        assert len(largest) == 1


def test_iterating_over_a_choice_keeps_its_order(written):
    cache, clips = written
    which = [5, 6, 2, 2, -1, 0, 1]
    found = list(cache.iterate(["gap"], which=which))
    assert [clip.id for clip in found] == [clips[place].id for place in which]
    assert [clip.index for clip in found] == [5, 6, 2, 2, 8, 0, 1]
    assert [list(clip.features) for clip in found] == [["gap"]] * 7
    assert all(np.array_equal(c.features["gap"], clips[c.index].features["gap"]) for c in found)
    assert list(cache.iterate(which=[])) == []
    with pytest.raises(UsageError, match="There are 9 clips, asked for number 9"):
        list(cache.iterate(which=[9]))


@pytest.mark.parametrize(
    ("conditions", "meets"),
    [
        ({"label": "sad"}, lambda c: c.label == "sad"),
        ({"label": ["sad", "happy"], "split": "train"}, lambda c: c.label in ("sad", "happy") and c.split == "train"),
        ({"subject": ("S1", "S2")}, lambda c: c.subject in ("S1", "S2")),
        ({"fold": 3}, lambda c: c.fold == 3),
        ({"fold": np.int64(3)}, lambda c: c.fold == 3),
        ({"fold": np.array([0, 1]), "subject": "S0"}, lambda c: c.fold in (0, 1) and c.subject == "S0"),
        ({"subject": "nobody"}, lambda c: False),
        ({"label": []}, lambda c: False),
        ({}, lambda c: True),
    ],
)
def test_selecting(written, conditions, meets):
    cache, clips = written
    assert cache.select(**conditions).tolist() == [place for place, clip in enumerate(clips) if meets(clip)]


def test_selecting_what_is_not_there_says_what_is(written):
    cache, _ = written
    with pytest.raises(UsageError, match="The labels are happy, sad, neutral; asked for joy"):
        cache.select(label=["sad", "joy"])
    with pytest.raises(UsageError, match="not selected by 'colour'") as error:
        cache.clips.select(colour="red")
    assert "label, subject, split or fold" in error.value.remedy


def test_asking_for_what_is_not_there_says_what_is(written):
    cache, _ = written
    with pytest.raises(UsageError, match="has the features gap, map, asked for 'gap2'") as error:
        cache.load("gap2")
    assert "--features gap,map,gap2" in error.value.remedy
    with pytest.raises(UsageError, match="A frame has box, landmarks, score, time, state, found 'boxes'"):
        cache.load_column("boxes")
    with pytest.raises(UsageError, match="There is no clip 'set/clip 99'"):
        cache.clip("set/clip 99")
    with pytest.raises(UsageError, match="There are 9 clips, asked for number 9"):
        cache.clip(9)
    assert error.value.status == 2


def test_failures_come_back(written):
    cache, _ = written
    (failure,) = cache.failures
    assert failure == make_failure(30)


def test_pandas_and_arrow(written):
    cache, clips = written
    frame = cache.clips.to_pandas()
    assert frame["id"].tolist() == cache.ids
    assert frame["label"].isna().tolist() == [clip.label is None for clip in clips]
    assert frame["label"].dropna().tolist() == [clip.label for clip in clips if clip.label]
    assert frame["width"].tolist() == [640] * 9
    assert frame["height"].tolist() == [clip.size[1] for clip in clips]
    assert frame["source_digest"].tolist() == [clip.source.digest.hex() for clip in clips]
    table = cache.clips.to_arrow()
    assert table.column("label").to_pylist() == [clip.label for clip in clips]
    assert table.column("fold").to_pylist() == [clip.fold for clip in clips]
    assert table.num_rows == 9
    assert set(table.column_names) == set(frame.columns)


def test_names_of_all_scripts(cache_path, make_clip, sample_recipes):
    names = [
        "ангел/клип 1",
        "笑顔😀",
        "a b\tc",
        "naïve – “quoted”",
        "e\u0301",
        "é",
        "line\nbreak",
        "\U0001f468‍👩‍👧",
        " ",
    ]
    clips = [
        make_clip(place + 2, id=name, path=f"/data/{name}.mp4", subject=name, split=name, label=name)
        for place, name in enumerate(names)
    ]
    folder = cache_path.parent / "Verzeichnis mit Leerzeichen 😀 é"
    folder.mkdir()
    path = folder / cache_path.name
    with CacheWriter.open(path, sample_recipes()) as writer:
        for clip in clips:
            writer.add(clip)
    cache = open_cache(path)
    assert cache.ids == names
    assert list(cache.labels) == names
    assert cache.clips.path == [f"/data/{name}.mp4" for name in names]
    assert cache.clips.subject == cache.clips.split == cache.clips.label_names == names
    assert cache.select(subject="笑顔😀").tolist() == [1]
    assert clip_contents(cache, "é") == expected_clip(clips[5])
    assert not verify_cache(path).problems


@pytest.mark.parametrize("frames", [[0], [0, 0], [1], [0, 1, 0], [2500, 0, 1], [1, 3000]])
def test_clips_of_any_length(cache_path, make_clip, sample_recipes, frames):
    clips = [make_clip(place, frames=count, crops=True) for place, count in enumerate(frames)]
    with CacheWriter.open(cache_path, sample_recipes(), crops=True) as writer:
        for clip in clips:
            writer.add(clip)
    cache = open_cache(cache_path)
    assert cache.clips.count.tolist() == frames
    assert [clip.num_frames for clip in clips] == [len(found.mask) for found in cache.iterate()]
    for place, clip in enumerate(clips):
        assert clip_contents(cache, place) == expected_clip(clip)
    assert not verify_cache(cache_path).problems


def test_an_empty_cache_opens(cache_path, sample_recipes):
    with CacheWriter.open(cache_path, sample_recipes(), labels=LABELS, crops=True):
        pass
    cache = open_cache(cache_path)
    assert (len(cache), cache.num_frames, cache.labels, cache.failures) == (0, 0, LABELS, [])
    assert cache.load("gap").rows.shape == (0, 16)
    assert list(cache.iterate()) == []
    assert cache.select(label="sad").tolist() == []
    assert len(cache.clips.to_pandas()) == 0
    assert not verify_cache(cache_path).problems
    assert "0 clips, 0 frames, gap" in repr(cache)


def test_targets(cache_path, make_clip, sample_recipes):
    votes = [[0.25, 0.75, 0.0], None, np.array([1, 0, 0])]
    with CacheWriter.open(cache_path, sample_recipes(), targets=("joy", "fear", "awe")) as writer:
        for place, target in enumerate(votes):
            writer.add(make_clip(place + 1, target=target))
    cache = open_cache(cache_path)
    assert cache.targets == ("joy", "fear", "awe")
    assert cache.clips.target.dtype == np.float32
    np.testing.assert_array_equal(cache.clips.target, [[0.25, 0.75, 0], [np.nan] * 3, [1, 0, 0]])
    assert cache.clips.to_arrow().column("target").to_pylist()[0] == [0.25, 0.75, 0.0]
    assert not verify_cache(cache_path).problems


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_both_types_of_features(cache_path, make_clip, sample_recipes, dtype):
    clip = make_clip(6, dtype=dtype)
    with CacheWriter.open(cache_path, sample_recipes(dtype=dtype)) as writer:
        writer.add(clip)
        writer.add(make_clip(7, dtype="float32"))
    cache = open_cache(cache_path)
    assert cache.load().rows.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(cache.clip(0).features["gap"], clip.features["gap"])
    np.testing.assert_array_equal(
        cache.clip(1).features["gap"], make_clip(7, dtype="float32").features["gap"].astype(dtype)
    )


def test_taps_of_any_shape_and_mirrored_ones(cache_path, make_clip, sample_recipes):
    frames = sample_recipes().frames
    base = FeatureRecipe(parent=frames.fingerprint, backbone="resnet18", weights="random", shape=(16,))
    shapes = {"gap": (16,), "gap_mirrored": (16,), "layer4": (5, 3, 4), "valence": (), "pyramid": (2, 1, 4, 4)}
    recipes = Recipes(
        frames=frames,
        features={
            name: replace(base, tap=name, shape=shape, mirrored=name == "gap_mirrored")
            for name, shape in shapes.items()
        },
    )
    rng = np.random.default_rng(0)
    clips = []
    for index in (2, 3, 0):
        clip = make_clip(index)
        rows = {
            n: rng.normal(size=(clip.num_frames, *shape)).astype(np.float16)
            for n, shape in shapes.items()
            if n != "gap"
        }
        for values in rows.values():
            values[clip.state == NO_FACE] = 0
        clips.append(replace(clip, features={**clip.features, **rows}))
    with CacheWriter.open(cache_path, recipes, layout=SMALL) as writer:
        for clip in clips:
            writer.add(clip)
    cache = open_cache(cache_path)
    assert cache.features == sorted(shapes)
    assert cache.recipes.features["gap_mirrored"].mirrored
    assert cache.recipes.features["gap_mirrored"].fingerprint != cache.recipes.features["gap"].fingerprint
    for place, clip in enumerate(clips):
        assert clip_contents(cache, place) == expected_clip(clip)
    assert {name: cache.load(name).rows.shape[1:] for name in shapes} == shapes
    assert not verify_cache(cache_path).problems


def test_long_attributes_fit_both_stores(cache_path, make_clip, sample_recipes):
    labels = [f"label number {number} – ü" for number in range(5000)]
    environment = {"note": "x" * 200_000, "nested": {"a": [1, 2.5, None, True]}}
    with CacheWriter.open(cache_path, sample_recipes(), labels=labels, environment=environment) as writer:
        writer.add(make_clip(2, label=labels[-1]))
    cache = open_cache(cache_path)
    assert list(cache.labels) == labels
    assert cache.environment == environment
    assert cache.clips.label_names == [labels[-1]]
