"""What format 2 adds: columns of extraction and annotation, extra columns, features of windows; and what becomes of format 1."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from cache_samples import SMALL, contents, make_clip, sample_recipes
from format_page import compare

from est.cache import CacheWriter, convert_cache, merge_caches, open_cache, verify_cache
from est.cache.changes.repair import repair_cache
from est.cache.clip import Windows
from est.cache.quality import box_jitter, coverage
from est.cache.recipe import Recipes
from est.cache.schema import NO_NUMBER, ColumnSpec
from est.cache.stores.manifest import Manifest
from est.errors import CacheError, CacheVersionError, RecipeMismatch, UsageError

COLUMNS = {
    "site": ColumnSpec(dtype="string"),
    "age": ColumnSpec(dtype="int64"),
    "pain": ColumnSpec(dtype="float64"),
    "big5": ColumnSpec(dtype="float64", shape=(5,)),
}
TOLD = {"site": "Oulu", "age": 37, "pain": 0.25, "big5": [0.1, 0.2, 0.3, 0.4, 0.5]}


def with_windows(features=("gap",)):
    recipes = sample_recipes(features)
    flow = replace(recipes.features["gap"], window="4 frames, step 2", modality="flow", shape=(3,), tap="gap")
    return Recipes(frames=recipes.frames, features={**recipes.features, "flow": flow})


def windows_of(index, count=None):
    """Return the windows of sample clip `index`: four frames each, two further each time."""
    frames = make_clip(index).num_frames
    start = np.arange(0, max(frames - 3, 0), 2)[:count]
    rows = np.random.default_rng(index).normal(size=(len(start), 3)).astype(np.float16)
    return Windows(start=start, stop=start + 4, rate=np.full(len(start), 12.5), features={"flow": rows})


def windowed_cache(path, indices=range(6), **settings):
    with CacheWriter.open(path, with_windows(), layout=SMALL, columns=COLUMNS, **settings) as writer:
        for index in indices:
            extra = TOLD if index % 2 else {}
            writer.add(make_clip(index, windows=windows_of(index), extra=extra, decoder="pyav", decode_errors=index))
    return path


def test_a_clip_keeps_what_is_told_of_it(cache_path):
    told = {
        "decoder": "opencv",
        "decode_errors": 2,
        "onset": 1,
        "apex": 4,
        "offset": 9,
        "tracks": 3,
        "identity_changes": 1,
    }
    with CacheWriter.open(cache_path, sample_recipes()) as writer:
        writer.add(make_clip(3, **told))
        writer.add(make_clip(4))
    rows = [open_cache(cache_path).clips.row(place) for place in range(2)]
    assert {name: rows[0][name] for name in told} == told
    assert {name: rows[1][name] for name in told} == {**dict.fromkeys(told, -1), "decoder": ""}
    assert rows[0]["coverage"] == pytest.approx((make_clip(3).state != 0).mean())
    compare(cache_path)


def test_quality_is_of_the_rows():
    state = np.array([1, 1, 0, 2, 1], np.uint8)
    box = np.array([[0, 0, 10, 20], [2, 0, 12, 20], [np.nan] * 4, [0, 0, 10, 10], [0, 5, 10, 15]])
    assert coverage(state) == 0.8
    assert box_jitter(box, state) == pytest.approx((2 / 20 + 5 / 10) / 2)
    assert np.isnan(box_jitter(box[:3], state[:3] * np.array([1, 0, 1], np.uint8)))
    assert coverage(state[:0]) == 0


def test_extra_columns_are_kept_changed_and_empty_where_nothing_is_told(cache_path):
    with CacheWriter.open(cache_path, sample_recipes(), columns=COLUMNS) as writer:
        writer.add(make_clip(3, extra=TOLD))
        writer.add(make_clip(4, extra={"age": 5}))
        writer.commit()
        compare(cache_path)
        changed = writer.update(make_clip(3).id, **{"extra/site": "Köln", "extra/big5": [1, 2, 3, 4, 5]})
        assert changed[0] == "extra/site: Oulu → Köln"
        assert writer.update(make_clip(4).id, **{"extra/pain": float("nan")}) == [], "it is NaN already"
        writer.update(make_clip(4).id, **{"extra/pain": 0.5})
        writer.update(make_clip(4).id, **{"extra/pain": None})
        writer.commit()
        compare(cache_path)
    cache = open_cache(cache_path)
    first, second = (cache.clips.row(place)["extra"] for place in range(2))
    assert (first["site"], first["age"], first["pain"], first["big5"]) == ("Köln", 37, 0.25, [1, 2, 3, 4, 5])
    assert (second["site"], second["age"]) == ("", 5)
    assert second["pain"] is None
    assert np.isnan(second["big5"]).all()
    assert cache.clips.extra["age"].tolist() == [37, 5]
    assert COLUMNS["age"].empty == NO_NUMBER
    compare(cache_path)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"age": 3.5}, "extra/age: expected int64, found 3.5"),
        ({"age": "old"}, "expected int64"),
        ({"big5": [1, 2]}, r"expected float64 of shape \(5,\)"),
        ({"site": 3}, "is a text, found 3"),
        ({"weight": 80}, "has the extra columns weight; the cache has age, big5, pain, site"),
    ],
)
def test_values_of_another_kind_are_refused(tmp_path, extra, message):
    with CacheWriter.open(tmp_path / "c.zarr", sample_recipes(), columns=COLUMNS) as writer:
        with pytest.raises(CacheError, match=message):
            writer.add(make_clip(3, extra=extra))
        writer.add(make_clip(4))
    assert len(open_cache(tmp_path / "c.zarr")) == 1


@pytest.mark.parametrize(("dtype", "shape"), [("float16", ()), ("string", (2,)), ("int64", (2,)), ("float64", (0,))])
def test_columns_of_other_types_are_refused(dtype, shape):
    with pytest.raises(UsageError, match=r"extra column is|Rows of numbers"):
        ColumnSpec(dtype=dtype, shape=shape)


def test_names_and_columns_that_are_not_there_are_refused(tmp_path, make_cache):
    with pytest.raises(UsageError, match="An extra column is named by"):
        CacheWriter.open(tmp_path / "a.zarr", sample_recipes(), columns={"a b": COLUMNS["age"]})
    make_cache(tmp_path / "b.zarr", range(2))
    with pytest.raises(RecipeMismatch, match="has extra columns none, you asked for age") as refused:
        CacheWriter.open(tmp_path / "b.zarr", sample_recipes(), columns={"age": COLUMNS["age"]})
    assert "est cache relabel" in refused.value.remedy


def test_windows_are_kept_copied_and_verified(cache_path, tmp_path):
    windowed_cache(cache_path)
    compare(cache_path)
    cache = open_cache(cache_path)
    assert (cache.features, cache.window_features) == (["gap"], ["flow"])
    for index in range(6):
        found, expected = cache.windows(index), windows_of(index)
        for name in ("start", "stop", "rate"):
            np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
        np.testing.assert_array_equal(found.features["flow"], expected.features["flow"])
    assert cache.recipes.features["flow"].modality == "flow"
    for store in (".zarr", ".h5"):
        copy = convert_cache(cache_path, tmp_path / f"copy{store}")
        compare(copy)
        assert contents(copy)["clips"] == contents(cache_path)["clips"]
        np.testing.assert_array_equal(open_cache(copy).load_windows("flow").rate, cache.load_windows("flow").rate)
    assert open_cache(convert_cache(cache_path, tmp_path / "less.zarr", features=["gap"])).window_features == []
    with pytest.raises(UsageError, match="has a row per window"):
        cache.load("flow")
    with pytest.raises(UsageError, match="has the features flow of windows, asked for 'gap'"):
        cache.load_windows("gap")


def test_clips_are_removed_replaced_and_added_behind(cache_path):
    windowed_cache(cache_path)
    with CacheWriter.open(cache_path) as writer:
        writer.remove([make_clip(3).id])
        writer.add(make_clip(2, windows=windows_of(2, 1)), replacing=True)
        writer.commit()
        compare(cache_path)
        writer.add(make_clip(7, windows=windows_of(7)))
    compare(cache_path)
    assert not verify_cache(cache_path).problems
    assert len(open_cache(cache_path).windows(make_clip(2).id).start) == min(1, len(windows_of(2).start))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stop": np.array([99])}, "a window covers frames of the clip"),
        ({"start": np.array([-1])}, "a window covers frames of the clip"),
        ({"rate": np.array([np.inf])}, "window_rate: frame 0 is NaN, infinite"),
        ({"features": {}}, r"has the window features \[\], expected \['flow'\]"),
        ({"features": {"flow": np.zeros((2, 3), np.float16)}}, "expected shape"),
    ],
)
def test_windows_that_make_no_sense_are_refused(tmp_path, change, message):
    with CacheWriter.open(tmp_path / "c.zarr", with_windows()) as writer:
        with pytest.raises(CacheError, match=message):
            writer.add(make_clip(3, windows=replace(windows_of(3, 1), **change)))
        with pytest.raises(CacheError, match="comes without windows"):
            writer.add(make_clip(3))


@pytest.mark.parametrize("name", ["flow", "start", "stop", "rate"])
def test_damage_to_windows_is_found_and_repaired(tmp_path, name):
    path = windowed_cache(tmp_path / "c.zarr")
    file = next(iter(sorted((path / "windows" / name).glob("c.*"))))
    data = bytearray(file.read_bytes())
    data[3] ^= 16
    file.write_bytes(data)
    assert len(verify_cache(path).damaged) == 1
    repair_cache(path)
    assert not verify_cache(path).problems
    assert len(open_cache(path)) == 5


def test_merged_caches_have_the_columns_of_all(tmp_path, make_cache):
    with CacheWriter.open(tmp_path / "a.zarr", sample_recipes(), columns={"site": COLUMNS["site"]}) as writer:
        writer.add(make_clip(3, extra={"site": "Oulu"}))
    with CacheWriter.open(tmp_path / "b.zarr", sample_recipes(), columns={"age": COLUMNS["age"]}) as writer:
        writer.add(make_clip(4, extra={"age": 4}))
    merge_caches([tmp_path / "a.zarr", tmp_path / "b.zarr"], tmp_path / "ab.h5")
    rows = [open_cache(tmp_path / "ab.h5").clips.row(place)["extra"] for place in range(2)]
    assert rows == [{"age": None, "site": "Oulu"}, {"age": 4, "site": ""}]
    with CacheWriter.open(tmp_path / "c.zarr", sample_recipes(), columns={"age": COLUMNS["pain"]}) as writer:
        writer.add(make_clip(5))
    with pytest.raises(RecipeMismatch, match="The extra column 'age' is float64"):
        merge_caches([tmp_path / "b.zarr", tmp_path / "c.zarr"], tmp_path / "bc.zarr")


def test_a_shared_copy_tells_nothing_extra(tmp_path):
    path = windowed_cache(tmp_path / "c.zarr")
    assert open_cache(convert_cache(path, tmp_path / "shared.zarr", share=True)).schema.extra == {}


# format 1


@pytest.fixture
def format_1(monkeypatch):
    """Let new caches be of format 1."""
    made = Manifest.__init__

    def first(self, *args, version=1, **settings):
        made(self, *args, version=version, **settings)

    monkeypatch.setattr(Manifest, "__init__", first)
    return monkeypatch


def test_a_cache_of_format_1_is_gone_on_with_and_upgraded(cache_path, tmp_path, make_cache, format_1):
    make_cache(cache_path, range(4), crops=True)
    format_1.undo()
    with CacheWriter.open(cache_path, sample_recipes(), crops=True) as writer:
        writer.add(make_clip(5, crops=True, decoder="pyav", apex=3))
        writer.update(make_clip(2).id, label="sad")
        writer.remove([make_clip(1).id])
        with pytest.raises(CacheError, match="caches of format 1, have no such column"):
            writer.update(make_clip(2).id, apex=3)
    page = compare(cache_path)
    assert page.version == 1
    assert "windows" not in page.attributes["commit"]["counts"]
    assert "apex" not in open_cache(cache_path).clips.columns
    new = convert_cache(cache_path, tmp_path / "new.zarr")
    assert compare(new).version == 2
    assert contents(new)["clips"] == contents(cache_path)["clips"]
    assert open_cache(new).clips.apex.tolist() == [-1] * 4
    assert (open_cache(new).clips.coverage > 0).any()
    merge_caches([cache_path], tmp_path / "merged.h5")
    assert compare(tmp_path / "merged.h5").version == 2


def test_format_1_takes_no_extra_columns(tmp_path, make_cache, format_1):
    make_cache(tmp_path / "c.zarr", range(2))
    format_1.undo()
    with pytest.raises(RecipeMismatch, match="has extra columns none"):
        CacheWriter.open(tmp_path / "c.zarr", sample_recipes(), columns=COLUMNS)


@pytest.mark.parametrize(
    "later",
    [{"engine": "onnxruntime"}, {"modality": "flow"}, {"window": "4 frames, step 2"}],
    ids=lambda made: next(iter(made)),
)
def test_format_1_has_no_rows_that_its_readers_would_take_for_others(later):
    """Earlier releases do not know these fields: rows of two engines would have one recipe."""
    recipes = sample_recipes()
    other = replace(recipes.features["gap"], **later)
    known = replace(recipes, features={"gap": other})
    assert Manifest(recipes=known).version == 2
    with pytest.raises(UsageError, match="format 1 has no extra columns, windows, modalities, or rows of onnxruntime"):
        Manifest(recipes=known, version=1)
    with pytest.raises(UsageError, match="format 1 has no place for it"):
        Manifest(recipes=recipes, version=1).with_filling("gap2", other, {})


def test_a_newer_format_names_what_reads_it(tmp_path, make_cache):
    path = make_cache(tmp_path / "c.zarr", range(2))
    document = json.loads((path / "zarr.json").read_text(encoding="utf-8"))
    document["attributes"]["version"] = 3
    (path / "zarr.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(CacheVersionError, match="has format version 3; this est reads up to 2") as refused:
        open_cache(path)
    assert "docs/cache-format.md" in refused.value.remedy
