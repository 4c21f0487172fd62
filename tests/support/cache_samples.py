"""Small caches that any test can make: clips that are a pure function of their number, and everything a cache shows, to compare.

`tests/conftest.py` puts this folder on the path, so that tests and the processes they start import it by name.
"""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path

import h5py
import numpy as np

from est.cache import CacheWriter, Clip, Failure, FeatureRecipe, FramesRecipe, Layout, Recipes, Source, open_cache
from est.cache.schema import STRING
from est.cache.stores.snapshot import open_snapshot

STORES = (".zarr", ".h5")
SHAPES = {"gap": (16,), "map": (3, 2, 2)}
LABELS = ("happy", "sad", "neutral")
SMALL = Layout(feature_bytes=2048, table_bytes=256)  # so that a few clips fill several chunks of every array


def sample_recipes(features=("gap",), *, dtype="float16", **frames):
    """Return recipes with D = 16; more keywords are fields of the frames recipe."""
    parent = FramesRecipe(**{"decoder": "opencv", "detector": "none", **frames})
    names = {"backbone": "resnet18", "weights": "random", "weights_digest": "0123abcd", "dtype": dtype}
    made = {name: FeatureRecipe(parent=parent.fingerprint, tap=name, shape=SHAPES[name], **names) for name in features}
    return Recipes(frames=parent, features=made)


def num_frames(index):
    """Return how many frames a sample clip has: the first none, the second one, others up to forty."""
    return index if index < 2 else 3 + 17 * index % 38


def make_clip(index, *, version=0, frames=None, rng=None, crops=False, features=("gap",), dtype="float16", **fields):
    """Return clip number `index`; another version has other rows, as many others, and another source."""
    rng = rng or np.random.default_rng([20, index, version])
    count = num_frames(index) + 2 * version if frames is None else frames
    state = rng.choice(np.array([0, 1, 1, 1, 2], np.uint8), count)
    absent = state == 0
    images = [b"" if gone else b"\xff\xd8" + rng.bytes(int(rng.integers(5, 40))) for gone in absent]
    digest = rng.bytes(16)
    floats = {
        name: rng.normal(size=(count, *shape)).astype(np.float32)
        for name, shape in {"box": (4,), "landmarks": (5, 2), "score": ()}.items()
    }
    rows = {name: rng.normal(size=(count, *SHAPES[name])).astype(dtype) for name in features}
    for name, values in itertools.chain(floats.items(), rows.items()):
        values[absent] = np.nan if name in ("box", "landmarks") else 0
    known = {
        **_known(index),
        "fps": 25.0 + index,
        "size": (640, 360 + index),
        "declared": count + index % 2,
        "source": Source(num_bytes=1000 + index, mtime_ns=10**18 + version, digest=digest),
        "crops": images if crops else None,
    }
    return Clip(**{**known, **fields}, state=state, time=np.arange(count) / 25.0, features=rows, **floats)


def make_failure(index, *, version=0):
    """Return the record of an input that gave no clip; it knows what that clip would."""
    return Failure(
        **_known(index),
        stage="decode",
        error=f"no frame {index} – ü",
        source=Source(num_bytes=1000 + index, mtime_ns=10**18 + version),
    )


def _known(index):
    return {
        "id": f"set/clip {index:03d}",
        "path": f"/videos/clip {index:03d} – é.mp4",
        "label": LABELS[index % 3] if index % 5 else None,
        "subject": f"S{index % 4}",
        "split": ("train", "test")[index % 2],
        "fold": index % 5,
    }


def make_cache(path, indices=range(8), *, crops=False, features=("gap",), failures=(), layout=SMALL, **settings):
    """Write the sample clips of some numbers, and failures of others; `settings` are those of the writer."""
    settings = {"labels": LABELS, **settings}
    with CacheWriter.open(path, sample_recipes(features), crops=crops, layout=layout, **settings) as writer:
        for index in indices:
            writer.add(make_clip(index, crops=crops, features=features))
        for index in failures:
            writer.fail(make_failure(index))
    return path


def contents(path):
    """Return everything that the public reader shows of a cache, as one comparable value."""
    cache = open_cache(path)
    shown = {name: _comparable(column) for name, column in cache.clips.columns.items()}
    shown["labels"] = (cache.labels, cache.targets, cache.clips.label_names)
    shown["recipes"] = (cache.recipes.identity(), json.dumps(cache.environment, sort_keys=True))
    shown["failures"] = [repr(failure) for failure in cache.failures]
    shown["clips"] = [clip_contents(cache, index) for index in range(len(cache))]
    return shown


def clip_contents(cache, which):
    """Return all rows of one clip."""
    clip = cache.clip(which)
    rows = {name: getattr(clip, name).tobytes() for name in ("state", "time", "box", "landmarks", "score")}
    rows |= {name: values.tobytes() for name, values in clip.features.items()}
    return rows | ({"crops": cache.crops(which)} if cache.has_crops else {})


def expected_clip(clip):
    """Return what `clip_contents` shows of a clip once it is in a cache."""
    rows = {name: getattr(clip, name).tobytes() for name in ("state", "time", "box", "landmarks", "score")}
    rows |= {name: values.tobytes() for name, values in clip.features.items()}
    return rows | ({} if clip.crops is None else {"crops": list(clip.crops)})


def stored_arrays(path):
    """Return every array of a cache, rows of removed clips included: bytes per row, or strings."""
    snapshot = open_snapshot(Path(path))
    arrays = {}
    for name, spec in snapshot.manifest.schema.arrays().items():
        if spec.axis in ("clip", "failure"):
            column = snapshot.column(spec)
            arrays[name] = column if spec.dtype == STRING else [row.tobytes() for row in column]
        else:
            rows = snapshot.rows(spec, 0, snapshot.manifest.commit.counts.of(spec.axis))
            size = spec.row_bytes
            arrays[name] = [rows.tobytes()[k * size : (k + 1) * size] for k in range(len(rows))]
    return arrays


def stored_files(path):
    """Return what a finished cache is made of, but for its commit: files of a directory, or datasets of an HDF5 file."""
    path = Path(path)
    if path.suffix == ".zarr":
        files = {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}
        root = json.loads(files.pop("zarr.json"))
        return files | {"zarr.json": _without_commit(root["attributes"])}
    found = {}
    with h5py.File(path, "r") as file:
        file.visititems(lambda name, item: found.update({name: _dataset(item)}))
        attributes = {name: json.loads(value) for name, value in file.attrs.items()}
    return found | {"attributes": _without_commit(attributes)}


def leftovers(path):
    """List what lies beside a cache: nothing, once its writer has finished."""
    return sorted(
        p.name for p in path.parent.iterdir() if p.name.startswith((path.name, f".{path.stem}")) and p != path
    )


def put_copy(path, source):
    """Put a copy of a cache, a file or a folder, in a place, and return the place."""
    if path.exists():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (shutil.copytree if source.is_dir() else shutil.copy)(source, path)
    return path


def _dataset(item):
    if isinstance(item, h5py.Group):
        return "group"
    values = item[()]
    return (item.shape, str(item.dtype), list(values) if values.dtype == object else values.tobytes())


def _without_commit(attributes):
    return {name: value for name, value in attributes.items() if name not in ("commit", "checksum", "folded")} | {
        "counts": attributes["commit"]["counts"]
    }


def _comparable(column):
    return list(column) if isinstance(column, list) else column.tobytes()
