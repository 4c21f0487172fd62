"""The frame encoder of a part: its own where it learnt with the model, else the one that made the features of the run's cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ...cache.recipe import FeatureRecipe, unnamed
from ...encoders.backbone import FrameEncoder
from ...encoders.kinds import find_design, names_encoder
from ...encoders.weights import LICENCES, load_weights, weights_of_recipe
from ...errors import EstError, UsageError
from ...train.models.contract import CROPS
from ...train.models.finetuned import FinetunedModel
from ...train.models.model import Model
from ...train.runs.run import Run

UNKNOWN = "not known to est: see where the weights came from"


@dataclass(frozen=True, kw_only=True)
class PartEncoder:
    """An encoder with its weights, and the tap that the model reads."""

    encoder: FrameEncoder
    tap: str


def feature_recipe(run: Run, part: str) -> FeatureRecipe | None:
    """Return how the features were made that a part reads; none where it makes them itself."""
    if run.config.looks_at_frames:
        return None
    return FeatureRecipe.from_identity(run.facts["cache"]["recipes"]["features"][run.reads[part]])


def describe_encoder(run: Run, part: str, *, share: bool = False) -> dict[str, Any]:
    """Return which encoder makes the features of a part, from which weights, and under which licence these are.

    `share` leaves out the names of files.
    """
    recipe = feature_recipe(run, part)
    named = unnamed if share and not (recipe is not None and recipe.is_imported) else str
    if run.config.model.reads == CROPS:
        facts = run.facts["finetune"]
        return {
            "encoder": "none: the model reads crops",
            "weights": f"{named(facts['weights'])}, from which the model learnt on",
            "normalize": "inside the model",
            "tap": CROPS,
            "licence": facts["licence"] or licence_of(facts["weights"]),
        }
    if recipe is None:
        facts = run.facts["finetune"]
        name, weights = facts.get("encoder", "resnet18"), facts["weights"]
        return {
            "encoder": name,
            "weights": f"{named(weights)}, which learnt on with the model",
            "normalize": facts["normalize"],
            "tap": run.config.model.reads or "gap",
            "licence": licence_of(weights),
        }
    return {
        "encoder": recipe.backbone,
        "weights": named(recipe.weights),
        "weights_digest": recipe.weights_digest,
        "normalize": recipe.normalize,
        "tap": recipe.tap,
        "precision": recipe.precision,
        "dtype": recipe.dtype,
        "licence": licence_of(recipe.weights),
    }


def licence_of(weights: str) -> str:
    """Return the licence of weights that are known by name."""
    if weights in LICENCES:
        return LICENCES[weights] or "none applies, the weights are random numbers"
    if not names_encoder(weights):
        return UNKNOWN
    try:
        return find_design(weights.partition("=")[0]).licence if "=" not in weights else UNKNOWN
    except EstError:  # the package of that kind is not installed
        return UNKNOWN


def part_encoder(run: Run, part: str, model: Model, weights: str | None) -> PartEncoder:
    """Return the encoder of a part, from `weights` where the cache does not say where they lie; refuse others than it was."""
    recipe = feature_recipe(run, part)
    if run.config.model.reads == CROPS:
        raise UsageError(
            f"{run.config.model.name} reads crops: it has no separate encoder, so the head is the complete model.",
            remedy="--what head",
        )
    if recipe is None:
        assert isinstance(model, FinetunedModel)
        if weights is not None:
            raise UsageError(
                f"{run.path} has its own encoder, which was trained with the model.", remedy="leave --weights out"
            )
        return PartEncoder(encoder=model.backbone.eval(), tap=model.tap)
    if not recipe.is_of_crops:
        what = recipe.modality or recipe.window
        raise UsageError(
            f"{run.path} reads features of {what}, which no encoder makes from single crops.", remedy="--what head"
        )
    try:
        if weights is None:
            found = weights_of_recipe(recipe, run.path)
        else:
            found = load_weights(weights, normalize=recipe.normalize)
    except EstError as error:
        raise type(error)(
            f"The encoder's weights are not available: {error.message}",
            remedy=f"--weights FILE, the {recipe.weights} that the features were made with; or --what head",
        ) from error
    if recipe.weights_digest not in ("", found.digest):
        raise EstError(
            f"The weights {found.name} are not those that the features were made with: their digest is {found.digest}, "
            f"expected {recipe.weights_digest}.",
            remedy=f"--weights FILE, the {recipe.weights} that was used then; or --what head",
        )
    return PartEncoder(encoder=found.backbone.eval(), tap=recipe.tap)
