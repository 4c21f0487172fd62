"""What is no cache, or one of another version: wrong usage said in a sentence, and every file stays as it is."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest
import zarr

from est.cache import CacheWriter, convert_cache, merge_caches, open_cache, verify_cache
from est.cache.checksum import of_text
from est.cache.recipe import canonical_json
from est.errors import CacheDamaged, CacheVersionError, UsageError


def everything(folder):
    """Return every file below a folder."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def zarr2(folder):
    path = folder / "old.zarr"
    path.mkdir()
    (path / ".zgroup").write_text('{"zarr_format": 2}')
    return path


def zarr3_of_something_else(folder):
    path = folder / "other.zarr"
    zarr.create_group(path, attributes={"format": "ome", "version": 1}).create_array("a", shape=(3,), dtype="i4")
    return path


def zarr3_array(folder):
    path = folder / "array.zarr"
    zarr.create_array(path, shape=(3,), dtype="i4")
    return path


def empty_folder(folder):
    path = folder / "empty.zarr"
    path.mkdir()
    (path / "notes.txt").write_text("mine")
    return path


def file_named_zarr(folder):
    path = folder / "file.zarr"
    path.write_text("text")
    return path


def text_named_h5(folder):
    path = folder / "text.h5"
    path.write_text("subject,label\n1,sad\n")
    return path


def folder_named_h5(folder):
    path = folder / "folder.h5"
    path.mkdir()
    return path


def hdf5_of_something_else(folder):
    path = folder / "other.hdf5"
    with h5py.File(path, "w") as file:
        file["features"] = np.zeros((3, 512))
    return path


def hdf5_with_a_format_of_its_own(folder):
    path = folder / "pandas.h5"
    with h5py.File(path, "w") as file:
        file.attrs["format"] = "table"
        file.attrs["version"] = 1
    return path


def missing(folder):
    return folder / "missing.zarr"


def missing_h5(folder):
    return folder / "missing.h5"


def in_no_folder(folder):
    return folder / "nowhere" / "a.zarr"


def with_no_suffix(folder):
    return folder / "cache"


NO_CACHES = [
    (zarr2, "is a Zarr 2 store; a cache is Zarr 3", "est extract"),
    (zarr3_of_something_else, "is not a cache of est: it has no attribute format = 'est-cache'", "est extract"),
    (zarr3_array, "is not the root group of a Zarr 3 store", "est extract"),
    (empty_folder, "is not a cache: it has no zarr.json", "est extract"),
    (file_named_zarr, "is a file; a .zarr cache is a directory", "a .h5 cache is a file"),
    (text_named_h5, "is not an HDF5 file, so it is not a cache", "est extract"),
    (folder_named_h5, "is not an HDF5 file, so it is not a cache", "est extract"),
    (hdf5_of_something_else, "is an HDF5 file, but not a cache of est", "est extract"),
    (hdf5_with_a_format_of_its_own, "is an HDF5 file, but not a cache of est", "est extract"),
    (missing, "does not exist", "est extract"),
    (missing_h5, "does not exist", "est extract"),
    (in_no_folder, "does not exist", "est extract"),
    (with_no_suffix, "A cache is named .zarr, .h5 or .hdf5, found 'cache'", "cache.zarr"),
]


@pytest.mark.parametrize(("make", "message", "remedy"), NO_CACHES, ids=lambda value: getattr(value, "__name__", ""))
def test_what_is_no_cache_is_wrong_usage(tmp_path, make, message, remedy):
    path = make(tmp_path)
    before = everything(tmp_path)
    doors = [
        lambda: open_cache(path),
        lambda: CacheWriter.open(path),
        lambda: verify_cache(path),
        lambda: convert_cache(path, tmp_path / "out.zarr"),
        lambda: merge_caches([path], tmp_path / "out.h5"),
    ]
    for door in doors:
        with pytest.raises(UsageError) as error:
            door()
        assert message in error.value.message
        assert error.value.message.endswith(".")
        assert remedy in error.value.remedy
        assert error.value.status == 2
    assert everything(tmp_path) == before


@pytest.mark.parametrize("make", [made for made, *_ in NO_CACHES[:9]])
def test_a_writer_with_recipes_does_not_write_over_what_is_no_cache(tmp_path, sample_recipes, make):
    path = make(tmp_path)
    before = everything(tmp_path)
    with pytest.raises(UsageError):
        CacheWriter.open(path, sample_recipes())
    assert everything(tmp_path) == before


def test_a_folder_that_is_missing_is_named(tmp_path, sample_recipes, make_cache):
    path = tmp_path / "no where" / "a.zarr"
    cache = make_cache(tmp_path / "a.zarr", range(2))
    doors = [
        lambda: CacheWriter.open(path, sample_recipes()),
        lambda: convert_cache(cache, path),
        lambda: merge_caches([cache], path),
    ]
    for door in doors:
        with pytest.raises(UsageError, match=r"The folder .*no where does not exist") as error:
            door()
        assert error.value.remedy == f"mkdir -p '{path.parent}'"


def set_version(path, version):
    """Give a cache another version, its checksum right."""
    if path.suffix == ".zarr":
        document = json.loads((path / "zarr.json").read_text())
        attributes = document["attributes"]
    else:
        with h5py.File(path, "r") as file:
            attributes = {name: json.loads(value) for name, value in file.attrs.items()}
    attributes["version"] = version
    attributes.pop("checksum")
    attributes["checksum"] = of_text(canonical_json(attributes))
    if path.suffix == ".zarr":
        (path / "zarr.json").write_text(json.dumps(document))
    else:
        with h5py.File(path, "a") as file:
            for name in ("version", "checksum"):
                file.attrs[name] = json.dumps(attributes[name])


@pytest.mark.parametrize(
    ("version", "message", "remedy"),
    [
        (3, "has format version 3; this est reads up to 2", "install a release of est that reads version 3"),
        (0, "has format version 0, which does not exist", "est cache verify"),
    ],
)
def test_another_version_names_what_reads_it(cache_path, make_cache, sample_recipes, version, message, remedy):
    make_cache(cache_path, range(2))
    set_version(cache_path, version)
    before = everything(cache_path.parent)
    for door in (open_cache, CacheWriter.open, lambda path: CacheWriter.open(path, sample_recipes())):
        with pytest.raises(CacheVersionError) as error:
            door(cache_path)
        assert message in error.value.message
        assert remedy in error.value.remedy
        assert error.value.status == 1
    assert everything(cache_path.parent) == before


def test_attributes_that_were_edited_by_hand(cache_path, make_cache):
    make_cache(cache_path, range(2))
    if cache_path.suffix == ".zarr":
        file = cache_path / "zarr.json"
        file.write_text(file.read_text().replace('"happy"', '"harpy"'))
    else:
        with h5py.File(cache_path, "a") as file:
            file.attrs["labels"] = file.attrs["labels"].replace(b'"happy"', b'"harpy"')
    with pytest.raises(CacheDamaged, match=r"The attributes of .* do not match their checksum") as error:
        open_cache(cache_path)
    assert "est cache verify" in error.value.remedy
