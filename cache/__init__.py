"""The cache: the contract between extraction and training. Knows numpy and its two stores, no torch.

Importing this package costs nothing: names are resolved on first use.
"""

from typing import TYPE_CHECKING

from .. import lazy_names

if TYPE_CHECKING:
    from .clip import Clip, Failure, Source
    from .convert import convert_cache
    from .environment import current_environment
    from .merge import merge_caches
    from .reader import Cache, open_cache
    from .recipe import FeatureRecipe, FramesRecipe, Recipes
    from .rewriting import erase_clips
    from .schema import Layout
    from .verify import verify_cache
    from .watch import Progress, Watch
    from .writer import CacheWriter

__getattr__ = lazy_names(__name__, __file__)
