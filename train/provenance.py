"""What a run learnt from: recorded when it starts, compared when it is resumed and when it is scored again.

Caches are compared by what they say, not by where they lie: a cache that was moved, converted or compacted is the same one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ..cache import Cache, open_cache
from ..cache.reading.datasets import datasets_of
from ..cache.remote.address import url_of
from ..cache.schema import CHECKSUMS
from ..cache.stores.snapshot import staging_path
from ..encoders.backbone import Backbone
from ..encoders.taps import MAPS
from ..errors import EstError, RecipeMismatch, UsageError, counted, differing, some
from .config.config import TrainConfig
from .data.data import FrameSource
from .data.pixels import choose_source
from .folds.annotations import Annotations
from .folds.databases import apex_remark, databases_of
from .folds.protocols import Plan
from .loop.watch import TrainingWatch
from .runs.run import Clips, Run, other_clips

Halves = dict[str, dict[str, list[str]]]  # fold → train, val, test → ids


def describe_cache(cache: Cache, table: Annotations) -> dict[str, Any]:
    """Return what run.json keeps of a cache."""
    learnt = cache.snapshot.manifest.describe_records()
    datasets = datasets_of(cache)
    return {
        "path": cache.place,
        "commit": cache.commit_id,
        "fingerprints": cache.recipes.fingerprints(),
        "recipes": cache.recipes.identity(),
        "annotations": digest(table),
        **({"trained_on": learnt} if learnt else {}),
        **({"datasets": datasets} if datasets else {}),
    }


def describe_megc(cache: Cache, table: Annotations) -> dict[str, Any]:
    """Return what run.json keeps for the table of MEGC 2019."""
    return {
        "databases": databases_of(cache, table),
        "dataset": cache.environment.get("dataset", {}).get("name", ""),
        "apex": apex_remark(cache),
    }


def describe_halves(plan: Plan, table: Annotations) -> Halves:
    """Return the ids of each fold's halves."""
    return {
        fold.name: {half: sorted(table.ids[getattr(fold, half)].tolist()) for half in ("train", "val", "test")}
        for fold in plan.folds
    }


def describe_clips(table: Annotations) -> Clips:
    """Return what stands behind each id."""
    frames = (table.span[:, 1] - table.span[:, 0]).tolist()
    rows = zip(table.ids.tolist(), table.digest.tolist(), frames, strict=True)
    return {name: [content, count] for name, content, count in rows}


def digest(table: Annotations) -> str:
    """Name which clips there are and what is said about them, whatever their order."""
    names = (*table.labels, None)  # −1 is no label
    columns = (table.subject, table.split, table.fold, table.missing)
    rows = zip(
        table.ids.tolist(), [names[c] for c in table.label], *(column.tolist() for column in columns), strict=True
    )
    return hashlib.sha256(json.dumps(sorted(rows, key=lambda row: row[0])).encode()).hexdigest()[:32]


def own_cache(run: Run) -> Cache:
    """Open the cache that a run was trained on, where it was then: at its place, or its URL."""
    place = run.facts["cache"]["path"]
    if url_of(place):
        return open_cache(place)
    path = Path(place)
    if not path.exists() and not staging_path(path).exists():
        raise UsageError(
            f"The cache of {run.path} was {path}, and is not there.", remedy="--cache names where it is now"
        )
    return open_cache(path)


def is_own(run: Run, cache: Cache) -> bool:
    """Return whether a cache is the one that a run was trained on: at its place, or with the same clips wherever it is."""
    known, here = run.facts["cache"], cache.recipes.fingerprints()
    if cache.place == known["path"] or cache.path.resolve() == Path(known["path"]).resolve():
        return True
    table = Annotations.from_cache(cache)
    same = all(here.get(name) == known["fingerprints"][name] for name in {"frames", *run.reads.values()})
    return same and digest(table) == known["annotations"] and not other_clips(run.clips(), describe_clips(table))


def expect_same(run: Run, cache: Cache, table: Annotations, halves: Halves) -> None:
    """Refuse to resume with a run on other features, other annotations, or other halves."""
    known = run.facts["cache"]
    remedy = f"resume with {known['path']} as it was, or begin a new run"
    for name in sorted(set(run.reads.values())) or [None]:
        features, frames = recipe_differences(run, cache, name, name)
        if features or frames:
            raise RecipeMismatch(
                differing(run.path, features | frames, more=[f"The features of {cache.path} were made so"]),
                remedy=remedy,
            )
    if known["annotations"] != digest(table) or run.halves() != halves:
        raise EstError(
            f"The clips, labels, subjects or folds of {cache.path} have changed since {run.path} was started.",
            remedy=remedy,
        )
    if changed := other_clips(run.clips(), describe_clips(table)):
        raise EstError(
            f"Other videos than when {run.path} was started: {counted(len(changed), 'clip')} of {cache.path} "
            f"({some(sorted(changed))}).",
            remedy=remedy,
        )


def arrays_for(run: Run, cache: Cache, watch: TrainingWatch) -> dict[str, str]:
    """Return the array of a cache that each part can read, whatever it is called there; empty where parts look at frames.

    Features that are made with other settings are refused; where only the faces are found or cut in another, it is said.
    """
    reads = {} if run.config.looks_at_frames else run.reads  # a backbone of the run's own makes its features itself
    there = {array: _array_like(run, array, cache) for array in dict.fromkeys(reads.values())}
    first = next(iter(there.items()), (None, None))
    if frames := recipe_differences(run, cache, *first)[1]:
        watch.warn(
            f"The faces of {cache.path} were detected or cut with other settings than in training: {_listed(frames)}."
        )
    return {part: there[array] for part, array in reads.items()}


def _array_like(run: Run, array: str, cache: Cache) -> str:
    """Find the array of a cache whose rows are made as those of an array of the run: of that name, or of another."""
    there = (*cache.features, *cache.window_features)
    for name in (array, *there):
        if name in there and not _that_matter(recipe_differences(run, cache, array, name)[0]):
            return name
    features = _that_matter(recipe_differences(run, cache, array, array)[0])  # refuses a cache without the array
    raise RecipeMismatch(
        differing(run.path, features, more=[f"The features of {cache.path} were made so"]),
        remedy="extract the clips with the weights and settings of the run's cache",
    )


def _that_matter(differences: dict[str, Any]) -> dict[str, Any]:
    """Leave out which clips the weights have learnt from, for which fold, and who made the rows of those: the weights are compared."""
    return {name: both for name, both in differences.items() if name not in ("trained_on", "fold", "cross_fit")}


def recipe_differences(
    run: Run, cache: Cache, array: str | None, name: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what differs between an array of the run and one here, and in the recipes of the frames: field → (in the run, here)."""
    known, here = run.facts["cache"]["recipes"], json.loads(json.dumps(cache.recipes.identity()))  # tuples as lists
    if {known["frames"]["decoder"], here["frames"]["decoder"]} == {"auto", "opencv"} and cache.reads_like_opencv:
        here["frames"]["decoder"] = known["frames"]["decoder"]
    if array is None or name is None:
        return {}, _differences(known["frames"], here["frames"])
    if name not in here["features"]:
        raise RecipeMismatch(
            f"{cache.path} has {cache.told_features()}, and {run.path} reads {name!r}.",
            remedy=f"est extract … --features {name}",
        )
    features = _differences(known["features"][array], here["features"][name])
    features.pop("parent", None)  # the fingerprint of the frames' recipe, whose fields are compared
    return features, _differences(known["frames"], here["frames"])


def source_of(run: Run, cache: Cache) -> FrameSource:
    """Return what the frames of a run are in a cache: maps if they are those that its backbone would make itself."""
    learns = run.config.finetune.learns if run.config.finetune.on else "all"
    pictures: Literal["crops", "videos"] = "crops" if cache.has_crops else "videos"
    if learns == "all":
        return choose_source(cache, pictures, learns)
    facts, maps = run.facts["finetune"], cache.recipes.features.get(MAPS)
    fits = maps is not None and (maps.weights_digest, maps.normalize) == (facts["digest"], facts["normalize"])
    return choose_source(cache, "auto" if fits else pictures, learns)


def shape_of(run: Run) -> tuple[int, ...]:
    """Return the shape of what a run that looks at frames makes of one; earlier runs, which do not say it, have a ResNet-18."""
    facts = run.facts["finetune"]
    return (facts.get("width", Backbone.width), *facts.get("maps", ()))


def _differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    return {name: (then.get(name), now.get(name)) for name in {**then, **now} if then.get(name) != now.get(name)}


def _listed(found: Mapping[str, Any]) -> str:
    said = {name: ["none" if one in ("", None) else one for one in both] for name, both in found.items()}
    return ", ".join(f"{name}: {then} in the run, {now} here" for name, (then, now) in said.items())


def rows_digest(cache: Cache, config: TrainConfig) -> str:
    """Name the rows that are learnt from, by the checksums that the cache keeps of each clip's."""
    read = [name for name, recipe in cache.recipes.features.items() if config.feature in (name, recipe.tap)]
    columns = cache.schema.clip_columns()
    found = {
        name: np.asarray(cache.snapshot.column(columns[CHECKSUMS + name]))[cache.clips.rows].tolist() for name in read
    }
    return hashlib.sha256(
        json.dumps([sorted(zip(cache.ids, sums, strict=True)) for sums in found.values()]).encode()
    ).hexdigest()[:32]
