"""The recipe of imported features: that they were imported, by what, from which columns."""

from __future__ import annotations

from ...cache.checksum import of_text
from ...cache.recipe import IMPORTED, FeatureRecipe, FramesRecipe, Recipes
from .columns import shortened
from .config import ImportConfig, closest_first
from .plan import ImportPlan

TREATED = {"refuse": "none", "zero": "NaN as 0", "no-face": "NaN as no face"}


def recipes_of(plan: ImportPlan) -> Recipes:
    """Write down how the frames and the rows of a new cache were made."""
    frames = frames_recipe(plan)
    return Recipes(frames=frames, features={plan.config.feature: feature_recipe(plan, frames.fingerprint)})


def frames_recipe(plan: ImportPlan) -> FramesRecipe:
    """Write down where times and faces come from."""
    config, columns = plan.config, plan.columns
    roles = (
        columns.roles
        if columns
        else {role: name for role in ("time", "state", "score", "frame") if (name := getattr(config, f"{role}_column"))}
    )
    rate = "" if config.fps is None else f"{config.fps:g} a second"
    times = ", ".join(
        filter(None, [*(f"{role} of {roles[role]}" for role in ("time", "frame") if role in roles), rate])
    )
    faces = [f"above 0 in {roles['state']}"] if "state" in roles else []
    faces += ["NaN is none"] if config.nan == "no-face" else []
    faces += [f"score of {roles['score']}"] if "score" in roles else []
    return FramesRecipe(
        decoder=IMPORTED,
        sampling=times or "one frame",
        detector=IMPORTED,
        tracking=", ".join(faces),
        size=1,
    )


def feature_recipe(plan: ImportPlan, parent: str) -> FeatureRecipe:
    """Write down by what rows were made, and which numbers they are."""
    config, columns = plan.config, plan.columns
    digest, tap = "", plan.array or "array"
    if columns:
        digest, tap = of_text("\n".join(columns.features)), shortened(columns.features)
    return FeatureRecipe(
        parent=parent,
        backbone=IMPORTED,
        weights=config.by,
        weights_digest=digest,
        normalize=TREATED[config.nan],
        tap=tap,
        shape=plan.shape,
        dtype=config.dtype,
        window=window_text(plan),
    )


def window_text(plan: ImportPlan) -> str:
    """Return which frames a row is of, and at which rate they were looked at; empty where it is of one."""
    config: ImportConfig = plan.config
    if not config.of_windows:
        return ""
    cut = ", cut at the end" * (config.past_end == "cut")
    if plan.levels:
        return " + ".join(map(str, sorted(plan.levels, key=closest_first))) + cut
    rate = f"rate of {config.rate_column}" if config.rate_column else f"{config.one_rate:g} a second"
    return f"frames from {config.start_column} to {config.stop_column}, {rate}{cut}"
