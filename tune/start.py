"""Where tuning starts: the weights that are asked for, or those that the features of a cache were made with."""

from __future__ import annotations

from ..cache import Cache
from ..encoders.weights import Weights, load_weights, weights_of_recipe
from ..errors import EstError
from .config import TuneConfig

FOR_IMAGES = "imagenet"  # where nothing says otherwise


def start_of_cache(cache: Cache, config: TuneConfig) -> Weights:
    """Load the weights that are asked for; else those of the cache's features, which must be the same still."""
    normalize = config.normalize or None
    if config.weights:
        return load_weights(config.weights, normalize=normalize)
    recipes = cache.recipes.features
    recipe = recipes.get("gap") or next(iter(recipes.values()), None)
    found = weights_of_recipe(recipe, cache.path, normalize=normalize)
    assert recipe is not None
    if found.digest != recipe.weights_digest:
        raise EstError(
            f"The features of {cache.path} were made with other weights of the name {recipe.weights} "
            f"({recipe.weights_digest[:8]}) than are here ({found.digest[:8]}).",
            remedy=f"--weights {recipe.weights} starts from those that are here",
        )
    return found


def start_of_images(config: TuneConfig) -> Weights:
    """Load the weights that are asked for."""
    return load_weights(config.weights or FOR_IMAGES, normalize=config.normalize or None)
