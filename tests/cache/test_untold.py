"""Extra columns in which nothing is told of a clip: None and missing values in Python, and copies without loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cache_samples import make_clip, sample_recipes

from est.cache import CacheWriter, convert_cache, merge_caches, open_cache
from est.cache.schema import NO_NUMBER, ColumnSpec

COLUMNS = {
    "age": ColumnSpec(dtype="int64"),
    "pain": ColumnSpec(dtype="float64"),
    "pair": ColumnSpec(dtype="float64", shape=(2,)),
    "site": ColumnSpec(dtype="string"),
}
TOLD = {"age": 33, "pain": 0.5, "pair": [0.0, 1.5], "site": "Oulu"}


@pytest.fixture
def cache(cache_path):
    with CacheWriter.open(cache_path, sample_recipes(), columns=COLUMNS) as writer:
        writer.add(make_clip(2, extra=TOLD))
        writer.add(make_clip(3))
    return cache_path


def test_a_row_has_none_where_no_number_is_told(cache):
    table = open_cache(cache).clips
    assert table.row(0)["extra"] == TOLD
    pair = table.row(1)["extra"].pop("pair")
    assert table.row(1)["extra"] | {"pair": 0} == {"age": None, "pain": None, "pair": 0, "site": ""}
    assert all(map(math.isnan, pair))
    assert np.asarray(table.extra["age"]).tolist() == [33, NO_NUMBER], "as it is stored"


def test_what_changed_is_told_without_the_number(cache):
    with CacheWriter.open(cache) as writer:
        assert writer.update(make_clip(3).id, **{"extra/age": 5}) == ["extra/age: None → 5"]


def test_copies_lose_nothing(cache, tmp_path):
    before = open_cache(cache).clips.extra
    for out in (convert_cache(cache, tmp_path / "one.h5"), tmp_path / "two.zarr"):
        if not out.exists():
            merge_caches([cache], out)
        after = open_cache(out).clips.extra
        for name, values in before.items():
            np.testing.assert_equal(np.asarray(after[name]), np.asarray(values))


def test_tables_have_missing_values(cache):
    table = open_cache(cache).clips
    pandas = pytest.importorskip("pandas")
    ages = table.to_pandas()["extra:age"]
    assert str(ages.dtype) == "Int64"
    assert (ages[0], ages.mean()) == (33, 33.0)
    assert ages[1] is pandas.NA
    pytest.importorskip("pyarrow")
    assert table.to_arrow()["extra:age"].to_pylist() == [33, None]
