"""docs/cache-format.md is true: a reader made of its words alone, and the stores' libraries, sees what `open_cache` sees."""

from __future__ import annotations

import json
import re
import struct
from dataclasses import fields, replace

import h5py
import numpy as np
import pytest
from cache_samples import LABELS, SMALL, make_failure
from format_page import FRAMES, PAGE, RECORD, TABLES, compare

from est.cache import CacheWriter, FeatureRecipe, FramesRecipe, open_cache
from est.cache.schema import WINDOW_ARRAYS, ColumnSpec, FeatureSpec, Schema
from est.cache.stores.manifest import Extraction, Filling, Manifest, Staging
from est.cache.trained import TrainedOn


def test_the_page_reads_a_cache_in_every_state(cache_path, store, make_clip, sample_recipes):
    settings = {"crops": True, "targets": ("x", "y"), "labels": LABELS, "layout": SMALL}
    with CacheWriter.open(cache_path, sample_recipes(), **settings) as writer:
        assert compare(cache_path).counts["clips"] == 0
        for index in range(6):
            writer.add(make_clip(index, crops=True, target=None if index % 2 else [index, 0.5]))
        writer.fail(make_failure(30))
        writer.commit()
        assert compare(cache_path).counts["clips"] == 6
    assert ("staging" in compare(cache_path).attributes) is False
    with CacheWriter.open(cache_path) as writer:
        writer.remove([make_clip(1).id, make_clip(4).id])
        writer.update(make_clip(2).id, label="überrascht", subject="Ä", target=None)
        writer.add(make_clip(3, version=1, crops=True), replacing=True)
        writer.add(make_clip(7, crops=True))
        writer.fail(make_failure(30))
        writer.fail(replace(make_failure(31), label="only a failure's"))
        assert compare(cache_path).counts["clips"] == 6
        writer.commit()
        page = compare(cache_path)
        assert set(page.attributes["edits"]) == {"clips", "failures"}
        assert page.attributes["edits"]["clips"]["target"]["2"] == [None, None]
        assert (page.attributes.get("staging", {}).get("commit", "") != "") == (store == ".h5")
        writer.commit()
        compare(cache_path)
        writer.update(make_clip(7).id, fold=4)
        writer.update(make_failure(31).id, label="again another", subject="ß", split="", fold=-1)
        writer.commit()
        assert set(compare(cache_path).attributes["edits"]["failures"]) >= {"label", "subject", "split", "fold"}
        writer.commit()
        compare(cache_path)
    assert "edits" not in compare(cache_path).attributes


def test_the_page_reads_a_cache_while_a_feature_is_added(cache_path, store, make_clip, make_cache, sample_recipes):
    both = ("gap", "map")
    make_cache(cache_path, range(5))
    with CacheWriter.open(cache_path, sample_recipes(both)) as writer:
        filler = writer.fill("map", writer.missing_features["map"])
        for index in range(5):
            clip = make_clip(index, features=both)
            filler.add(clip.id, clip.features["map"], clip.state)
            writer.commit()
            page = compare(cache_path)
            filling = page.attributes.get("filling", {})
            assert ("map" in filling, "map" in page.features) == (index < 4, index == 4)
            if index < 4:
                assert filling["map"]["clips"] == index + 1
                assert set(filling["map"]) == {"recipe", "clips", "frames"}
        if store == ".h5":
            assert page.attributes["staging"]["whole"] == ["frames/map", "clips/xxh3/map"]
        writer.add(make_clip(8, features=both))
        writer.commit()
        compare(cache_path)
    assert "map" in compare(cache_path).features


def test_zarr_documents_and_chunks_are_those_of_the_page(tmp_path, make_cache):
    path = make_cache(tmp_path / "a.zarr", range(8), crops=True, features=("gap", "map"))
    example = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[1])
    schema = open_cache(path).schema
    groups = {str(file.parent.relative_to(path)) for file in path.rglob("zarr.json")} - set(schema.arrays()) - {"."}
    named = set(re.findall(r"`([a-z0-9/]+)`", re.search(r"each\s+group\s+\((.*?)\)", PAGE, re.DOTALL)[1]))
    assert groups == named - {"windows", "clips/extra", "failures/extra"}
    for name, spec in schema.arrays().items():
        document = json.loads((path / name / "zarr.json").read_text(encoding="utf-8"))
        assert document.keys() == example.keys()
        for member in ("zarr_format", "node_type", "chunk_key_encoding", "attributes", "storage_transformers"):
            assert document[member] == example[member]
        rows = document["shape"][0]
        if document["data_type"] == "string":
            per_chunk = 1024
            assert document["codecs"] == [{"name": "vlen-utf8", "configuration": {}}]
        else:
            row_bytes = np.dtype(document["data_type"]).itemsize * int(np.prod(document["shape"][1:]))
            large = name == "crops/data" or name.split("/")[1] in ("gap", "map")
            per_chunk = max(1, (SMALL.feature_bytes if large else SMALL.table_bytes) // row_bytes)
        assert document["chunk_grid"]["configuration"]["chunk_shape"] == [per_chunk, *document["shape"][1:]]
        suffix = ".0" * (len(document["shape"]) - 1)
        expected = {f"c.{chunk}{suffix}" for chunk in range(-(-rows // per_chunk))} | {"zarr.json"}
        assert {file.name for file in (path / name).iterdir() if file.is_file()} == expected
        for file in (path / name).glob("c.*"):
            data = file.read_bytes()
            if spec.dtype == "string":
                assert struct.unpack("<I", data[:4]) == (1024,)
            else:
                assert len(data) == per_chunk * row_bytes


def test_hdf5_arrays_are_those_of_the_page(tmp_path, make_cache):
    path = make_cache(tmp_path / "a.h5", range(8), crops=True)
    with h5py.File(path, "r") as file:
        datasets = {}
        file.visititems(lambda name, item: datasets.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        assert datasets.keys() == open_cache(path).schema.arrays().keys()
        for name, dataset in datasets.items():
            assert dataset.chunks is None, name
            assert dataset.compression is None, name
            if h5py.check_string_dtype(dataset.dtype):
                encoding, length = h5py.check_string_dtype(dataset.dtype)
                assert encoding == "utf-8"
                assert length == max([1, *(len(text) for text in dataset[:])])
        assert all(isinstance(value, bytes) for value in file.attrs.values())
        assert (file.attrs["format"], file.attrs["version"]) == (b'"est-cache"', b"2")
    assert path.read_bytes()[:9] == b"\x89HDF\r\n\x1a\n\x03"  # the superblock of HDF5 1.10


def test_the_example_of_the_attributes_is_a_manifest():
    example = json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0])
    manifest = Manifest.from_attributes(example, "the page")
    assert manifest.attributes() == example
    assert manifest.labels == ("happy", "sad", "überrascht")


def test_the_page_names_every_attribute():
    recipes = Manifest.from_attributes(
        json.loads(re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)[0]), "the page"
    ).recipes
    staging = Staging(commit="x", whole=("frames/gap",))
    full = Manifest(
        recipes=recipes,
        edits={"clips": {"live": {0: 0}}},
        filling={"late": Filling(recipe=recipes.features["gap"])},
        staging=staging,
        folded="x",
        black={"gap": (0.5,)},
        trained_on={"x": TrainedOn(clips=("clip 1",), how="est train --finetune all")},
        extra={"age": ColumnSpec(dtype="int64")},
        extraction=Extraction(inputs=2, left=1),
    ).attributes()
    assert {row[0].strip("`") for row in TABLES["Attributes"]} == set(full)
    assert {row[0].strip("`") for row in TABLES["HDF5"]} == set(full["staging"])
    assert set(re.findall(r"`(\w+)`", RECORD)) == set(full["trained_on"]["x"])


@pytest.mark.parametrize(("recipe", "place"), [(FramesRecipe, slice(0, 16)), (FeatureRecipe, slice(16, None))])
def test_the_page_names_every_field_of_a_recipe(recipe, place):
    words = {"str": "text", "int": "integer", "float": "float", "bool": "boolean", "tuple[int, ...]": "integers"}
    expected = [(item.name, words[item.type]) for item in fields(recipe)]
    assert [(row[0].strip("`"), row[1]) for row in TABLES["Recipes"][place]] == expected


def on_the_page(name):
    """Return the name under which the page has an array of the test below."""
    return re.sub(r"^clips/xxh3/(?!row).*", "clips/xxh3/ARRAY", name).replace("/TEXT", "/NAME")


def test_the_page_names_every_array_with_its_type_and_shape():
    feature = {"NAME": FeatureSpec(dtype="float16", shape=(512,))}
    extra = {"NAME": ColumnSpec(dtype="float64", shape=(2,)), "TEXT": ColumnSpec(dtype="string", failures=True)}
    schema = Schema(features=feature, window_features=feature, extra=extra, crops=True, num_targets=3)
    sections = ("frames", "windows", "crops", "clips", "failures")
    named = {row[0].strip("`"): row for section in sections for row in TABLES[section]}
    letters = {"frame": "N", "offset": "N + 1", "byte": "B", "clip": "K", "failure": "F", "window": "W"}
    for name, spec in schema.arrays().items():
        known = on_the_page(name)
        assert known in named, name
        _, dtype, shape, meaning = named[known]
        assert meaning
        if known in ("frames/NAME", "windows/NAME", "clips/extra/NAME"):
            owner = "the column" if spec.axis == "clip" else "its recipe"
            assert (dtype, shape) == (f"`dtype` of {owner}", rf"({letters[spec.axis]}, \*`shape`)")
            continue
        sides = ["M" if name == "clips/target" else str(side) for side in spec.row_shape]
        assert dtype == spec.dtype, name
        assert shape == f"({', '.join([letters[spec.axis], *sides])}{'' if sides else ','})", name
    assert set(named) == {on_the_page(name) for name in schema.arrays()}
    assert set(re.findall(r"`(\w+)`", named["clips/xxh3/ARRAY"][3])) == {*FRAMES, "crops", *WINDOW_ARRAYS}


def test_the_versions_of_the_page_end_with_the_one_that_is_written():
    from est.cache.schema import VERSION

    rows = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert rows == [str(number) for number in range(1, VERSION + 1)]
    assert PAGE.startswith(f"# The cache format, version {VERSION}\n")
