"""Merging: caches that were extracted separately become one, or nothing is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ...errors import CacheError, RecipeMismatch, UsageError, counted, quoted
from ..environment import datasets_in, environment_changes, with_datasets
from ..reading.reader import Cache
from ..recipe import Recipes, expect_same
from ..schema import ColumnSpec
from ..stores.disk import Disk
from ..stores.manifest import Extraction
from ..trained import TrainedOn
from ..watch import Progress, Watch
from ..writing.writer import CacheWriter
from .copying import Wanted, copied_clips, copied_failures, creating

Duplicates = Literal["refuse", "first", "last"]


def merge_caches(
    sources: Sequence[Path | str],
    out: Path | str,
    *,
    duplicates: Duplicates = "refuse",
    allow: Sequence[str] = (),
    watch: Watch | None = None,
    disk: Disk | None = None,
) -> list[str]:
    """Join caches of one recipe in the order given; return the differences that were allowed, which the result records.

    `duplicates` says what is done about clips of one id: they are refused, or the first or the last one is taken. `allow` names fields of
    the recipe that may differ.

    >>> est.merge_caches(["cache.zarr", "cache.zarr"], "merged.zarr", duplicates="first")
    []
    """
    if not sources:
        raise UsageError("There is nothing to merge.", remedy="est cache merge A.zarr B.zarr --out ALL.zarr")
    if duplicates not in ("refuse", "first", "last"):
        raise UsageError(f"duplicates is refuse, first or last, found {duplicates!r}.")
    out, disk, watch = Path(out), disk or Disk(), watch or Watch()
    caches = [Cache.open(source) for source in sources]
    first = caches[0]
    allowed: list[str] = []
    chosen_by_file = any(
        cache.recipes.frames.decoder == "auto" for cache in caches
    )  # so clips say which decoder read them
    for other in caches[1:]:
        remedy = "extract again with the settings of one of them, or name what may differ: --allow FIELD"
        where = f"{first.path}, beside {other.path},"
        may_differ = (*allow, "decoder") if chosen_by_file else tuple(allow)
        found = expect_same(first.recipes, other.recipes, where=where, allow=may_differ, remedy=remedy)
        if chosen_by_file and "decoder" in found:
            found = [name for name in found if name != "decoder"]
            watch.say(f"decoders differ in {other.path.name}: each clip says which read it")
        allowed += [f"{other.path.name}: {first.recipes.describe(other.recipes, [name])}" for name in found]
        _expect_settings(first, other)
    if duplicates == "refuse":
        _expect_distinct(caches)
    wanted = Wanted(
        features={name: recipe.dtype for name, recipe in first.recipes.features.items()}, crops=first.has_crops
    )
    records = _records(caches)
    recipes = _recipes(caches, records)
    merged = _merged(caches)
    datasets = (name for cache in caches for name in datasets_in(cache.environment))
    environment = with_datasets(first.environment, datasets) | ({"merged": merged} if merged else {})
    total, done = sum(len(cache) for cache in caches), 0
    labels: dict[str, set[str | None]] = {}  # of each id, in all caches
    with creating(out, disk) as growing:
        settings: dict[str, Any] = {
            "labels": list(dict.fromkeys(label for cache in caches for label in cache.labels)),
            "targets": first.targets,
            "layout": first.snapshot.manifest.layout,
            "black": first.black,
            "trained_on": records.values(),
            "columns": _columns(caches),
            "extraction": _extraction(caches),
        }
        with CacheWriter.open(
            growing, recipes, crops=first.has_crops, environment=environment, disk=disk, **settings
        ) as writer:
            for cache in caches:
                for clip in copied_clips(cache, wanted):
                    labels.setdefault(clip.id, set()).add(clip.label)
                    if clip.id not in writer or duplicates == "last":
                        writer.add(clip, replacing=True)
                    done += 1
                    watch.progress(Progress(what="Merging", unit="clips", done=done, total=total))
            for cache in caches:
                for failure in copied_failures(cache, wanted):
                    if failure.id not in writer:
                        writer.fail(failure)
    if left_out := total - len(labels):
        others = sum(len(found) > 1 for found in labels.values())
        say = watch.warn if others else watch.say
        say(
            f"left out: {counted(left_out, 'clip')} in several caches; the caches have different labels of {counted(others, 'clip')}"
        )
    return allowed


def _extraction(caches: Sequence[Cache]) -> Extraction | None:
    """Return how far the extractions into all caches came together; nothing where all have ended, unless all have recorded themselves."""
    known = [cache.extraction for cache in caches if cache.extraction is not None]
    left = sum(one.left for one in known)
    return Extraction(inputs=sum(one.inputs for one in known), left=left) if left or len(known) == len(caches) else None


def _records(caches: Sequence[Cache]) -> dict[str, TrainedOn]:
    """Return what the weights behind each feature have learnt from, in any of the caches."""
    records: dict[str, TrainedOn] = {}
    for cache in caches:
        for name in cache.recipes.features:
            record = cache.trained_on(name)
            if record is not None:
                records[name] = records[name].merged(record) if name in records else record
    return records


def _recipes(caches: Sequence[Cache], records: Mapping[str, TrainedOn]) -> Recipes:
    """Return the recipes of the result: the first one's, naming the records of all; each clip knows its decoder where they differ."""
    first = caches[0]
    decoders = {cache.recipes.frames.decoder for cache in caches}
    frames = replace(first.recipes.frames, decoder="auto") if len(decoders) > 1 else first.recipes.frames
    named = {name: record.fingerprint for name, record in records.items()}
    features = {
        name: replace(recipe, parent=frames.fingerprint, trained_on=named.get(name, ""))
        for name, recipe in first.recipes.features.items()
    }
    return Recipes(frames=frames, features=features)


def _merged(caches: Sequence[Cache]) -> list[dict[str, str]]:
    """Return what the environment of the result records: in what each cache differs from the first, and its own record."""
    first = caches[0]
    record = [entry for cache in caches for entry in cache.environment.get("merged", [])]
    for other in caches[1:]:
        found = [
            first.recipes.describe(other.recipes, [name]) for name in first.recipes.differences(other.recipes)
        ] + environment_changes(_own(first), _own(other), words=("here", "there"))
        record += [{"cache": other.path.name, "difference": difference} for difference in found]
    return [entry for place, entry in enumerate(record) if entry not in record[:place]]


def _expect_settings(first: Cache, other: Cache) -> None:
    if first.has_crops != other.has_crops:
        having, lacking = (first, other) if first.has_crops else (other, first)
        raise RecipeMismatch(
            f"{having.path} has crops and {lacking.path} has none.",
            remedy=f"est cache convert {quoted(having.path)} NEW --no-crops, then merge that",
        )
    if first.targets != other.targets:
        raise RecipeMismatch(
            f"{first.path} has the targets {list(first.targets)}, {other.path} has {list(other.targets)}."
        )


def _columns(caches: Sequence[Cache]) -> dict[str, ColumnSpec]:
    """Return the extra columns of all; clips of caches that lack one have nothing there."""
    found: dict[str, ColumnSpec] = {}
    for cache in caches:
        for name, spec in cache.schema.extra.items():
            if found.setdefault(name, spec) != spec:
                raise RecipeMismatch(
                    f"The extra column {name!r} is {spec.dtype} {spec.shape} in {cache.path}, and {found[name].dtype} "
                    f"{found[name].shape} in another."
                )
    return found


def _own(cache: Cache) -> dict[str, Any]:
    return {name: value for name, value in cache.environment.items() if name != "merged"}


def _expect_distinct(caches: Sequence[Cache]) -> None:
    seen: dict[str, Path] = {}
    for cache in caches:
        for clip_id in cache.ids:
            if clip_id in seen:
                raise CacheError(
                    f"Clip {clip_id!r} is in {seen[clip_id]} and in {cache.path}.",
                    remedy="--duplicates first or --duplicates last keeps one of them",
                )
            seen[clip_id] = cache.path
