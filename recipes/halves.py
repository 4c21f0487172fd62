"""Whether the clips of a recipe are enough to train on, told before anything is extracted."""

from __future__ import annotations

from dataclasses import replace

from ..errors import UsageError
from ..inputs.input import Input
from ..train.config.config import TrainConfig
from .clips import RecipeClips
from .recipe import DatasetRecipe

BATCH = "loop.batch"


def training_halves(clips: RecipeClips) -> dict[str, list[Input]]:
    """Return the clips that each fold learns from."""
    folds = sorted({one.fold for one in clips.everything if one.fold >= 0})
    if folds:
        return {f"fold{fold}": [one for one in clips.inputs if one.fold != fold] for fold in folds}
    return {"split": [one for one in clips.inputs if one.split == "train"]}


def fit_batch(
    recipe: DatasetRecipe, clips: RecipeClips, config: TrainConfig, *, is_set: bool = False
) -> tuple[TrainConfig, str]:
    """Return a configuration whose batch a part of a data set can fill, and what changed in words; refuse what cannot be learnt from."""
    for name, half in training_halves(clips).items():
        classes = {one.label for one in half}
        if len(classes) < 2:
            raise UsageError(
                f"{recipe.protocol} on {clips.partial or len(clips.everything)}: {name} learns from {len(half)} clips of "
                f"{', '.join(sorted(map(str, classes))) or 'no class'}, and it takes two classes.",
                remedy=f"--limit {max(24, 2 * len(clips.everything))}, or the whole data set",
            )
    fewest = min(len(half) for half in training_halves(clips).values())
    batch = config.loop.batch
    if batch <= fewest:
        return config, ""
    if is_set or not clips.partial:
        raise UsageError(
            f"A step takes {batch} clips, and a fold of {clips.partial or recipe.protocol} learns from {fewest}.",
            remedy=f"--set {BATCH}={fewest}",
        )
    smaller = replace(config, loop=replace(config.loop, batch=fewest))
    return smaller, f"a step takes {fewest} clips in place of {batch}: a fold learns from no more"
