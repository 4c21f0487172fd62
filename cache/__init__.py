"""The cache: the contract between extraction and training. Knows numpy and its two stores, no torch.

Importing this package costs nothing: names are resolved on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clip import Clip, Failure, Source
    from .convert import convert_cache
    from .environment import current_environment
    from .merge import merge_caches
    from .reader import Cache, open_cache
    from .recipe import FeatureRecipe, FramesRecipe, Recipes
    from .schema import Layout
    from .verify import verify_cache
    from .writer import CacheWriter

_HOME = {
    "Cache": "reader",
    "CacheWriter": "writer",
    "Clip": "clip",
    "Failure": "clip",
    "FeatureRecipe": "recipe",
    "FramesRecipe": "recipe",
    "Layout": "schema",
    "Recipes": "recipe",
    "Source": "clip",
    "convert_cache": "convert",
    "current_environment": "environment",
    "merge_caches": "merge",
    "open_cache": "reader",
    "verify_cache": "verify",
}

__all__ = [
    "Cache",
    "CacheWriter",
    "Clip",
    "Failure",
    "FeatureRecipe",
    "FramesRecipe",
    "Layout",
    "Recipes",
    "Source",
    "convert_cache",
    "current_environment",
    "merge_caches",
    "open_cache",
    "verify_cache",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
