"""Whether the clips that are in a cache can be continued: what its writer would refuse is refused before, in a dry run too."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ...cache import Cache, Recipes, open_cache
from ...cache.recipe import expect_recipes
from ...cache.schema import ColumnSpec
from ...cache.stores.manifest import expect_environment, expect_settings
from ...cache.trained import TrainedOn
from ...cache.writing.restart import has_clips
from ...inputs.input import Input
from ..clip_pipeline import clips_of
from ..config import ExtractConfig
from ..filling import clips_of_cache, expect_crops, expect_fillings
from ..workers.recrop import source_change


def expect_resumable(
    out: Path,
    recipes: Recipes,
    columns: Mapping[str, ColumnSpec],
    environment: Mapping[str, Any],
    config: ExtractConfig,
    inputs: Iterable[Input],
    record: TrainedOn | None,
) -> None:
    """Refuse a cache that was made otherwise, or to whose clips the features that it lacks cannot be added."""
    if not has_clips(out):  # one without clips takes any settings
        return
    cache = open_cache(out)
    manifest = cache.snapshot.manifest
    expect_settings(manifest, (), config.crops, columns, out)
    missing = expect_recipes(manifest.recipes, recipes, out)
    expect_environment(manifest, environment, out, strict=config.strict)
    expect_fillings(out, manifest, recipes.features)
    for name, recipe in missing.items():
        manifest.with_filling(name, recipe, {} if record is None else {record.fingerprint: record})
    if missing and not cache.has_crops:
        expect_crops(cache, out, list(missing), clips_of_cache(cache, known=_places(cache, inputs)))


def _places(cache: Cache, inputs: Iterable[Input]) -> dict[str, Path]:
    """Return where the sources of clips lie now: those of inputs that are what they were."""
    places, ids = {}, set(cache.ids)
    for source in inputs:
        for clip_id in clips_of(source.id, ids):
            row = cache.clips.row(cache.clips.index(clip_id))
            if not source_change(source.path, row["source_bytes"], row["source_mtime_ns"]):
                places[clip_id] = source.path
    return places
