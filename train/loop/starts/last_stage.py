"""Where the last stage that a model holds starts: as that of the encoder that made the maps.

Maps are what an encoder's earlier stages made of pixels, so the last stage that belongs to them is that of the same weights; others are
refused, but for random ones, which belong to none.
"""

from __future__ import annotations

from collections.abc import Iterable

from ....cache import Cache, FeatureRecipe
from ....encoders.backbone import Backbone, tap_shape
from ....encoders.weights import RANDOM, Weights, is_known, load_weights, weights_of_recipe
from ....errors import EstError, UsageError
from ....hub.names import same_weights
from ...config.config import TrainConfig
from .initial_weights import InitialWeights


def find_stage_start(cache: Cache, config: TrainConfig, arrays: Iterable[str]) -> InitialWeights:
    """Load the weights of the encoder that made some arrays of maps, or those that are asked for."""
    model, asked = config.model, config.finetune.weights
    recipes = {recipe.weights_digest: recipe for recipe in (cache.recipes.features[name] for name in arrays)}
    recipe = next(iter(recipes.values()))
    if recipe.backbone != Backbone.name:
        raise UsageError(
            f"{model.name} continues with layer4 of a ResNet-18, and the maps {recipe.tap} of {cache.path} are of {recipe.backbone}.",
            remedy="a cache of --weights imagenet, or of another file of a ResNet-18",
        )
    channels = tap_shape(recipe.tap, cache.recipes.frames.size)[0]
    if recipe.shape[0] != channels:
        raise UsageError(
            f"{recipe.tap} of {cache.path} has {recipe.shape[0]} channels, and layer4 of a ResNet-18 takes {channels}.",
            remedy="est extract makes layer3 by a ResNet-18",
        )
    if asked == RANDOM:
        return InitialWeights(weights=load_weights(RANDOM, normalize=recipe.normalize), by_seed=True)
    if len(recipes) > 1:
        raise UsageError(
            f"The folds of {cache.path} read maps of {len(recipes)} encoders, and layer4 starts as that of one.",
            remedy="--fold NAME with --weights FILE, fold by fold; or --weights random",
        )
    named = is_known(asked) and is_known(recipe.weights)
    if named and not same_weights(asked, recipe.weights):  # before anything is downloaded
        raise UsageError(
            f"{recipe.tap} of {cache.path} was made with {recipe.weights}; asked for {asked}, whose layer4 is for other maps.",
            remedy=f"leave out --weights, for the layer4 of {recipe.weights}; or --weights {RANDOM}",
        )
    found = _load(cache, config, recipe)
    if (found.digest, found.backbone.normalization.name) != (recipe.weights_digest, recipe.normalize):
        raise UsageError(
            f"{recipe.tap} of {cache.path} was made with {recipe.weights} ({recipe.weights_digest[:8]}, pixels {recipe.normalize}); "
            f"these are {found.name} ({found.digest[:8]}, pixels {found.backbone.normalization.name}), whose layer4 is for other maps.",
            remedy=f"--weights with the file that the cache was made with, or --weights {RANDOM}",
        )
    return InitialWeights(weights=found)


def _load(cache: Cache, config: TrainConfig, recipe: FeatureRecipe) -> Weights:
    """Load what is asked for, or what the recipe names; say what to give where it names a file."""
    settings = config.finetune
    if settings.weights:
        return load_weights(settings.weights, normalize=settings.normalize or recipe.normalize)
    try:
        return weights_of_recipe(recipe, cache.path)
    except EstError as error:
        raise type(error)(
            f"layer4 of {config.model.name} starts as that of the encoder that made the maps. {error.message}",
            remedy=f"--weights FILE, the {recipe.weights} that the cache was made with; or --weights {RANDOM}, a random layer4",
        ) from error
