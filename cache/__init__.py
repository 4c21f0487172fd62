"""The cache: the contract between extraction and training. Knows numpy and its two stores, no torch.

Importing this package costs nothing: names are resolved on first use.
"""

from typing import TYPE_CHECKING

from .. import lazy_names

if TYPE_CHECKING:
    from .changes.convert import convert_cache
    from .changes.merge import merge_caches
    from .changes.rewriting import erase_clips
    from .changes.upload import Uploaded, download_cache, upload_cache
    from .changes.verify import verify_cache
    from .clip import Clip, Failure, Source
    from .environment import current_environment
    from .reading.reader import Cache, open_cache
    from .recipe import FeatureRecipe, FramesRecipe, Recipes
    from .schema import Layout
    from .watch import Progress, Watch
    from .writing.writer import CacheWriter

__getattr__ = lazy_names(__name__, __file__)
