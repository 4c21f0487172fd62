"""The clips of a recipe whose data the project renders, so that everybody can try the complete pipeline."""

from __future__ import annotations

from pathlib import Path

from ..cache.watch import Watch
from ..demo import RenderSpec, plan_set, render_set
from ..demo.renderset import MANIFEST
from ..errors import UsageError
from ..inputs.input import FoundInputs, Input
from .clips import RecipeClips, choose_clips, find_clips
from .recipe import DatasetRecipe


def expect_no_root(recipe: DatasetRecipe, root: Path | None) -> None:
    """Refuse a folder of data for a recipe that makes its own."""
    if root is not None:
        raise UsageError(
            f"The recipe {recipe.name} renders its own clips, found --root {root}.", remedy="leave out --root"
        )


def find_rendered(
    recipe: DatasetRecipe, folder: Path, limit: int | None, *, dry_run: bool, watch: Watch
) -> RecipeClips:
    """Return the rendered clips; those that are not there are rendered, or in a dry run only counted."""
    if not (folder / MANIFEST).is_file():
        if dry_run:
            return planned_clips(recipe, folder, limit)
        render_set(spec_of(recipe), folder, overwrite=True, watch=watch)
    return find_clips(recipe, folder / MANIFEST, limit)


def spec_of(recipe: DatasetRecipe) -> RenderSpec:
    """Return what is rendered: dynamics, whose classes differ in the course of a clip alone."""
    assert recipe.rendering is not None
    return RenderSpec(dynamics=True, **vars(recipe.rendering))


def planned_clips(recipe: DatasetRecipe, folder: Path = Path(), limit: int | None = None) -> RecipeClips:
    """Return the clips that would be rendered."""
    plans = plan_set(spec_of(recipe))
    inputs = [
        Input(id=plan.path, path=folder / plan.path, kind="video", label=plan.label, subject=plan.subject)
        for plan in plans
    ]
    labels = tuple(sorted({plan.label for plan in plans}))
    found = FoundInputs(inputs=tuple(inputs), total=len(inputs), labels=labels)
    return choose_clips(recipe, found, folder, limit)
