"""docs/cache-format.md is true: a reader made of its words alone, and the stores' libraries, sees what `open_cache` sees."""

from __future__ import annotations

import hashlib
import json
import re
import struct
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path

import h5py
import numpy as np
import pytest
import xxhash
import zarr
from cache_samples import LABELS, SMALL, make_failure

from est.cache import CacheWriter, FeatureRecipe, FramesRecipe, open_cache
from est.cache.manifest import Filling, Manifest, Staging
from est.cache.schema import FeatureSpec, Schema
from est.cache.trained import TrainedOn

PAGE = (Path(__file__).parents[2] / "docs" / "cache-format.md").read_text(encoding="utf-8")
RECORD = re.search(r"A record has the members (.*?\.)\s", PAGE, re.DOTALL)[1]
FRAMES = ("box", "landmarks", "score", "time", "state")


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class Page:
    """A reader that knows the page and nothing of the package."""

    def __init__(self, path):
        self.file = self.staging = None
        directory = path.with_name(path.name + ".staging") if path.suffix != ".zarr" else path
        if path.suffix != ".zarr" and path.exists():
            self.file = h5py.File(path, "r")
            self.attributes = {name: json.loads(text) for name, text in self.file.attrs.items()}
        if directory.exists():
            staging = zarr.open_group(directory, mode="r")
            if self.file is None or self.attributes.get("folded") != staging.attrs["commit"]["id"]:
                if self.file is not None:
                    assert staging.attrs["staging"]["commit"] == self.attributes["commit"]["id"]
                self.staging, self.attributes = staging, dict(staging.attrs)
        attributes = dict(self.attributes)
        checksum = attributes.pop("checksum")
        assert attributes["format"] == "est-cache"
        assert attributes["version"] == 1
        assert checksum == f"{xxhash.xxh3_64_intdigest(canonical(attributes).encode()):016x}"
        self.counts = attributes["commit"]["counts"]
        self.crops = attributes["crops"]
        self.features = attributes["recipes"]["features"]

    def array(self, name, rows, base):
        """Return the committed rows of an array, from the file and from the staging."""
        continued = self.attributes.get("staging", {"commit": ""})
        if self.staging is None or (continued["commit"] and name not in continued["whole"]):
            first = self.file[name][:]
            if self.staging is None:
                assert len(first) == rows
                return texts(first)
            assert len(first) == base(continued["base"])
            return np.concatenate([texts(first), texts(self.staging[name][: rows - len(first)])])
        return texts(self.staging[name][:rows])

    def frames(self, name):
        return self.array(f"frames/{name}", self.counts["frames"], lambda counts: counts["frames"])

    def crop_arrays(self):
        data = self.array("crops/data", self.counts["crop_bytes"], lambda counts: counts["crop_bytes"])
        offset = self.array("crops/offset", self.counts["frames"] + 1, lambda counts: counts["frames"] + 1)
        return data, offset

    def table(self, table, names):
        columns = {n: self.array(f"{table}/{n}", self.counts[table], lambda counts: counts[table]) for n in names}
        for name, rows in self.attributes.get("edits", {}).get(table, {}).items():
            for row, value in rows.items():
                columns[name][int(row)] = value
        return columns


def texts(values):
    """Return strings as an array of Python's own, numbers as they are."""
    values = np.asarray(values)
    if values.dtype.kind not in "OTSU":
        return values
    return np.array([v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist()], dtype=object)


def tables_of_the_page():
    """Return the rows of every table of the page, by the section that it is in."""
    sections = re.split(r"^##+ (.*)$", PAGE, flags=re.MULTILINE)[1:]
    return {
        title: [
            [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            for line in re.findall(r"^\| *`.*$", text, re.MULTILINE)
        ]
        for title, text in zip(sections[::2], sections[1::2], strict=True)
    }


TABLES = tables_of_the_page()


def columns_of_the_page(section, *, targets, checked):
    """Return the columns of a table in the page's order, with their types."""
    found = {}
    for name, dtype, *_ in TABLES[section]:
        name = name.strip("`").removeprefix(section + "/")
        if name == "xxh3/ARRAY":
            found |= {f"xxh3/{array}": dtype for array in checked}
        elif name != "target" or targets:
            found[name] = dtype
    return found


def checksum_of_row(columns, types, row):
    digest = xxhash.xxh3_64(seed=0)
    for name, dtype in types.items():
        if name.startswith("xxh3/"):
            continue
        if dtype == "string":
            encoded = columns[name][row].encode()
            digest.update(struct.pack("<I", len(encoded)) + encoded)
        else:
            digest.update(np.asarray(columns[name][row]).astype(np.dtype(dtype).newbyteorder("<")).tobytes())
    return digest.intdigest()


def compare(path):
    """Read a cache by the page, check every checksum of it, and compare it with the package's reader."""
    page, cache = Page(path), open_cache(path)
    checked = [*FRAMES, *page.features, *(["crops"] if page.crops else [])]
    arrays = {name: page.frames(name) for name in [*FRAMES, *page.features]}
    for name, rows in arrays.items():
        known = cache.load(name).rows if name in page.features else cache.load_column(name)
        np.testing.assert_array_equal(rows, known)
        assert rows.dtype == known.dtype
    types = columns_of_the_page("clips", targets=page.attributes["targets"], checked=checked)
    clips = page.table("clips", types)
    for name, dtype in types.items():
        assert dtype == "string" or clips[name].dtype == np.dtype(dtype), name
    ends = np.cumsum(clips["count"])
    np.testing.assert_array_equal(clips["start"], ends - clips["count"])
    assert page.counts["frames"] == (ends[-1] if len(ends) else 0)
    live = np.flatnonzero(clips["live"])
    for name in types:
        if not name.startswith("xxh3/") and name != "live":
            np.testing.assert_array_equal(clips[name][live], texts(cache.clips.columns[name]), name)
    data, offset = page.crop_arrays() if page.crops else (None, None)
    for place, row in enumerate(live):
        start, stop = clips["start"][row], clips["start"][row] + clips["count"][row]
        for name, rows in arrays.items():
            assert clips[f"xxh3/{name}"][row] == xxhash.xxh3_64_intdigest(rows[start:stop].tobytes()), name
        if page.crops:
            cuts = offset[start : stop + 1]
            crops = [data[a:b].tobytes() for a, b in pairwise(cuts)]
            assert crops == cache.crops(place)
            assert [not crop for crop in crops] == [state == 0 for state in arrays["state"][start:stop]]
            lengths = np.array([len(crop) for crop in crops], "<i8").tobytes()
            assert clips["xxh3/crops"][row] == xxhash.xxh3_64_intdigest(lengths + b"".join(crops))
    for row in range(page.counts["clips"]):
        assert clips["xxh3/row"][row] == checksum_of_row(clips, types, row)
    names = page.attributes["labels"]
    assert [names[code] if code >= 0 else None for code in clips["label"][live]] == cache.clips.label_names
    kinds = columns_of_the_page("failures", targets=False, checked=())
    failures = page.table("failures", kinds)
    for row in range(page.counts["failures"]):
        assert failures["xxh3/row"][row] == checksum_of_row(failures, kinds, row)
    columns = ("id", "path", "stage", "error", "subject", "split", "fold")
    shown = [
        [*(failures[name][row] for name in columns), (*names, None)[failures["label"][row]]]
        for row in np.flatnonzero(failures["live"])
    ]
    assert shown == [[getattr(failure, name) for name in (*columns, "label")] for failure in cache.failures]
    fingerprints = {"frames": page.attributes["recipes"]["frames"], **page.features}
    for name, recipe in fingerprints.items():
        assert page.attributes["fingerprints"][name] == hashlib.sha256(canonical(recipe).encode()).hexdigest()[:32]
    if page.file is not None:
        page.file.close()
    return page


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
    assert groups == set(re.findall(r"`([a-z0-9/]+)`", re.search(r"each group \((.*?)\)", PAGE)[1]))
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
        assert (file.attrs["format"], file.attrs["version"]) == (b'"est-cache"', b"1")
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
    ).attributes()
    assert {row[0].strip("`") for row in TABLES["Attributes"]} == set(full)
    assert {row[0].strip("`") for row in TABLES["HDF5"]} == set(full["staging"])
    assert set(re.findall(r"`(\w+)`", RECORD)) == set(full["trained_on"]["x"])


@pytest.mark.parametrize(("recipe", "place"), [(FramesRecipe, slice(0, 15)), (FeatureRecipe, slice(15, None))])
def test_the_page_names_every_field_of_a_recipe(recipe, place):
    words = {"str": "text", "int": "integer", "float": "float", "bool": "boolean", "tuple[int, ...]": "integers"}
    expected = [(item.name, words[item.type]) for item in fields(recipe)]
    assert [(row[0].strip("`"), row[1]) for row in TABLES["Recipes"][place]] == expected


def test_the_page_names_every_array_with_its_type_and_shape():
    schema = Schema(features={"NAME": FeatureSpec(dtype="float16", shape=(512,))}, crops=True, num_targets=3)
    named = {row[0].strip("`"): row for section in ("frames", "crops", "clips", "failures") for row in TABLES[section]}
    letters = {"frame": "N", "offset": "N + 1", "byte": "B", "clip": "K", "failure": "F"}
    for name, spec in schema.arrays().items():
        known = re.sub(r"^clips/xxh3/(?!row).*", "clips/xxh3/ARRAY", name)
        assert known in named, name
        _, dtype, shape, meaning = named[known]
        assert meaning
        if name == "frames/NAME":
            assert (dtype, shape) == ("`dtype` of its recipe", r"(N, \*`shape`)")
            continue
        sides = ["M" if name == "clips/target" else str(side) for side in spec.row_shape]
        assert dtype == spec.dtype, name
        assert shape == f"({', '.join([letters[spec.axis], *sides])}{'' if sides else ','})", name
    expected = {re.sub(r"^clips/xxh3/(?!row).*", "clips/xxh3/ARRAY", name) for name in schema.arrays()}
    assert set(named) == expected
    assert set(re.findall(r"`(\w+)`", named["clips/xxh3/ARRAY"][3])) == {*FRAMES, "crops"}


def test_the_versions_of_the_page_end_with_the_one_that_is_written():
    from est.cache.schema import VERSION

    rows = re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)
    assert rows == [str(number) for number in range(1, VERSION + 1)]
    assert PAGE.startswith(f"# The cache format, version {VERSION}\n")
