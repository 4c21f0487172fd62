"""The list of clips: quality as each clip's own, in both formats; order, and what is unknown."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from cache_samples import SMALL, make_cache, make_clip, sample_recipes

from est.cache import CacheWriter, open_cache
from est.cache.quality import box_jitter, coverage
from est.cache.reading import cliptracks
from est.cache.reading.cliptracks import clip_quality
from est.cache.reading.listing import Choice, Listing
from est.cache.schema import ColumnSpec
from est.errors import UsageError

ARCHIVE = Path(__file__).parents[1] / "fixtures" / "format-1.tar.xz"


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    folder = tmp_path_factory.mktemp("earlier")
    with tarfile.open(ARCHIVE) as archive:
        names = [one for one in archive.getmembers() if one.name.split("/")[0] in ("faces.zarr", "pictures.h5")]
        archive.extractall(folder, names, filter="data")
    return folder


@pytest.mark.parametrize("frames", [40, 2**20])
def test_quality_of_all_is_that_of_each(cache_path, monkeypatch, frames):
    monkeypatch.setattr(cliptracks, "FRAMES", frames)
    make_cache(cache_path, range(20))
    with CacheWriter.open(cache_path) as writer:
        writer.remove(["set/clip 003", "set/clip 007"])
    cache = open_cache(cache_path)
    found = clip_quality(cache)
    clips = [cache.clip(index, []) for index in range(len(cache))]
    np.testing.assert_array_equal(found["coverage"], [coverage(clip.state) for clip in clips])
    np.testing.assert_allclose(found["box_jitter"], [box_jitter(clip.box, clip.state) for clip in clips], rtol=1e-12)
    np.testing.assert_array_equal(found["coverage"], cache.clips.coverage)
    np.testing.assert_allclose(found["box_jitter"], cache.clips.box_jitter, rtol=1e-12)


@pytest.mark.parametrize("name", ["faces.zarr", "pictures.h5"])
def test_a_cache_of_format_1_has_what_can_be_computed(earlier, name):
    cache = open_cache(earlier / name)
    rows = list(Listing(cache).rows(range(len(cache))))
    for index, row in enumerate(rows):
        clip = cache.clip(index, [])
        assert row["coverage"] == coverage(clip.state) > 0
        assert row["box_jitter"] == pytest.approx(box_jitter(clip.box, clip.state), rel=1e-12)
        assert (row["tracks"], row["identity_changes"], row["decoder"], row["fold"]) == (None, None, "", -1)
        assert row["label"] == cache.clips.label_names[index]


@pytest.fixture
def listing(tmp_path):
    tracks = {0: 3, 1: -1, 2: 1, 3: 1}
    columns = {"age": ColumnSpec(dtype="int64"), "site": ColumnSpec(dtype="string")}
    with CacheWriter.open(
        tmp_path / "c.zarr", sample_recipes(), labels=("happy", "sad", "neutral"), layout=SMALL, columns=columns
    ) as writer:
        for index, number in tracks.items():
            extra = {"age": 30 + index, "site": "Oulu"} if index != 2 else {}
            writer.add(make_clip(index + 2, tracks=number, extra=extra))
    return Listing(open_cache(tmp_path / "c.zarr"))


@pytest.mark.parametrize(
    ("choice", "places"),
    [
        ({"sort": "tracks"}, [2, 3, 0, 1]),  # equal ones in their order, unknown ones last
        ({"sort": "tracks", "reverse": True}, [0, 2, 3, 1]),
        ({"sort": "id", "reverse": True, "limit": 2}, [3, 2]),
        ({"sort": "label"}, [1, 2, 0, 3]),  # happy, neutral, none twice
        ({"sort": "extra:age", "reverse": True}, [3, 1, 0, 2]),
        ({"where": "tracks = 1"}, [2, 3]),
        ({"where": "extra:age = none"}, [2]),
        ({"where": "extra:site ~ ou and tracks < 3", "split": ["test"]}, [3]),
        ({"limit": 0}, []),
    ],
)
def test_clips_are_chosen_and_put_in_order(listing, choice, places):
    listing.columns["label"][:] = ["", "happy", "neutral", ""]
    assert listing.choose(Choice(**choice)).tolist() == places


def test_unknown_columns_and_settings_are_refused():
    with pytest.raises(UsageError, match="--limit is 0 or more"):
        Choice(limit=-1)
    with pytest.raises(UsageError, match="--reverse needs --sort"):
        Choice(reverse=True)


def test_a_misspelt_column_names_the_nearest(listing):
    with pytest.raises(UsageError, match="found 'covrage'") as refused:
        listing.choose(Choice(sort="covrage"))
    assert refused.value.remedy == "--sort with coverage"


def test_whole_extra_columns_stay_whole(tmp_path):
    numbers = {0: 2**53 + 1, 1: None, 2: -7, 3: 123458}
    columns = {"number": ColumnSpec(dtype="int64"), "share": ColumnSpec(dtype="float64")}
    with CacheWriter.open(
        tmp_path / "c.zarr", sample_recipes(), labels=("happy", "sad", "neutral"), layout=SMALL, columns=columns
    ) as writer:
        for index, value in numbers.items():
            writer.add(make_clip(index, extra={} if value is None else {"number": value, "share": 2.0}))
    listing = Listing(open_cache(tmp_path / "c.zarr"))
    found = [row["extra:number"] for row in listing.rows(range(4))]
    assert found == list(numbers.values())
    assert [type(one) for one in found] == [int, type(None), int, int]
    assert [row["extra:share"] for row in listing.rows([0, 1])] == [2.0, None]
    assert listing.choose(Choice(where=f"extra:number = {2**53}")).tolist() == []
    assert listing.choose(Choice(sort="extra:number", reverse=True)).tolist() == [0, 3, 2, 1]
