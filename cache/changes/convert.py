"""Converting: the same clips in the other store, another chunking, type or selection of arrays; the space of removed clips is freed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import UsageError
from ..environment import with_datasets
from ..reading.datasets import datasets_of
from ..reading.reader import Cache
from ..recipe import Recipes, unnamed
from ..schema import Layout
from ..stores.disk import Disk, expect_free_space
from ..trained import TrainedOn
from ..watch import Watch
from .copying import Wanted, copied_record, creating, write_copy


def convert_cache(
    source: Path | str,
    out: Path | str,
    *,
    features: Sequence[str] | None = None,
    dtype: str | None = None,
    crops: bool | None = None,
    chunk_mb: float | None = None,
    share: bool = False,
    seed: int | None = None,
    note: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
    disk: Disk | None = None,
) -> Path:
    """Write a cache again, in the other store or with other arrays, and verify it; the space of removed clips is freed.

    `features`, `dtype`, `crops` and `chunk_mb` choose what is kept and how. `share` leaves out crops, landmarks, paths, sources, names
    of files of weights, and ids that tell them.
    What is shared is in random order, and people get random names instead of their own. Without a `seed` this cannot be undone.
    `note` is added to what the copy records of its making.

    >>> est.convert_cache("cache.zarr", "cache.h5").name
    'cache.h5'
    """
    out, disk, watch = Path(out), disk or Disk(), watch or Watch()
    cache = Cache.open(source)
    keep_crops = cache.has_crops and not share if crops is None else crops
    if keep_crops and not cache.has_crops:
        raise UsageError(f"{cache.path} has no crops.", remedy="extract with --crops")
    if keep_crops and share:
        raise UsageError(
            "--share leaves out the crops: licences of data sets treat faces as personal data.",
            remedy="leave out --crops",
        )
    chosen = _chosen(cache, features)
    if share:
        _expect_no_names(cache, chosen)
    wanted = Wanted(
        features={name: dtype or cache.recipes.features[name].dtype for name in chosen},
        crops=keep_crops,
        landmarks=not share,
        names=not share,
        seed=secrets.randbits(128) if share and seed is None else seed or 0,
    )
    records = {name: copied_record(cache, name, wanted) for name in chosen}
    recipes = _recipes(cache, wanted, records)
    layout = cache.snapshot.manifest.layout if chunk_mb is None else _layout(chunk_mb)
    with creating(out, disk) as growing:
        expect_free_space(out.parent, _num_bytes(cache, wanted), f"Converting to {out.name}")
        settings: dict[str, Any] = {
            "labels": cache.labels,
            "targets": cache.targets,
            "layout": layout,
            "black": {name: row for name, row in cache.black.items() if name in recipes.features},
            "trained_on": [record for record in records.values() if record is not None],
            "environment": _environment(cache, names=wanted.names) | dict(note or {}),
            "columns": cache.schema.extra if wanted.names else {},
            "extraction": cache.extraction,
        }
        write_copy(cache, growing, recipes, wanted, what="Converting", watch=watch, disk=disk, **settings)
    return out


def _chosen(cache: Cache, features: Sequence[str] | None) -> list[str]:
    """Return the features to copy, or say which are not there."""
    there = [*cache.features, *cache.window_features]
    chosen = there if features is None else list(features)
    unknown = [name for name in chosen if name not in there]
    if unknown:
        raise UsageError(f"{cache.path} has the features {', '.join(there)}; asked for {', '.join(unknown)}.")
    return chosen


def _expect_no_names(cache: Cache, chosen: Sequence[str]) -> None:
    """Refuse to share arrays of folds that are named after a subject, as those of leave-one-subject-out are."""
    subjects = {_letters(name) for name in cache.clips.subject if name}
    telling = [name for name in chosen if _letters(cache.recipes.features[name].fold) in subjects]
    if telling:
        others = [name for name in chosen if name not in telling]
        raise UsageError(
            f"--share leaves out the names of subjects, and {', '.join(telling[:3])}{' …' * (len(telling) > 3)} is named after one.",
            remedy=f"--features {','.join(others)}" if others else "share the cache that it was made from",
        )


def _letters(name: str) -> str:
    """Return what is left of a subject's name in that of a fold."""
    return "".join(filter(str.isalnum, name)).casefold()


def _recipes(cache: Cache, wanted: Wanted, records: Mapping[str, TrainedOn | None]) -> Recipes:
    """Return the recipes of the copy: those of its features, in the type that was asked for, naming the records that it holds."""
    recipes = {
        name: replace(
            (made := cache.recipes.features[name]),
            weights=made.weights if wanted.names or made.is_imported else unnamed(made.weights),
            dtype=dtype,
            trained_on="" if (record := records[name]) is None else record.fingerprint,
        )
        for name, dtype in wanted.features.items()
    }
    return Recipes(frames=cache.recipes.frames, features=recipes)


def _environment(cache: Cache, *, names: bool) -> dict[str, Any]:
    """Return what the copy records; names of merged caches may tell a subject, and the column that names data sets is left out."""
    if names:
        return cache.environment
    environment = with_datasets(cache.environment, datasets_of(cache))
    if "merged" in environment:
        environment["merged"] = [{"difference": _unnamed(entry["difference"])} for entry in environment["merged"]]
    return environment


def _unnamed(difference: str) -> str:
    """Return in what merged caches differ, without the names of files of weights."""
    field, colon, _ = difference.partition(": ")
    return f"{field}: others there" if colon and field.endswith(".weights") else difference


def _layout(chunk_mb: float) -> Layout:
    if not 0.0625 <= chunk_mb <= 1024:
        raise UsageError(f"A chunk has 0.0625 to 1024 MB, found {chunk_mb}.", remedy="--chunk-mb 4")
    return Layout(feature_bytes=round(chunk_mb * 2**20))


def _num_bytes(cache: Cache, wanted: Wanted) -> int:
    """Estimate the size of the copy; an HDF5 cache stands twice for a moment."""
    schema = cache.schema
    sizes = [
        spec.row_bytes
        for name, spec in schema.frame_arrays().items()
        if name not in schema.features or name in wanted.features
    ]
    crops = cache.snapshot.manifest.commit.counts.crop_bytes if wanted.crops else 0
    return 2 * (int(np.sum(cache.clips.columns["count"])) * sum(sizes) + crops + 1000 * len(cache))
