"""Between the stages: a frame encoder learns on single labelled frames, so that the features that are cached then are better ones.

`tune_cache` and `tune_clips` learn from clips of a cache, `tune_stills` from labelled images. `recache_tuned`
does it for each fold of a protocol, and makes a cache of what the encoders see.

Importing this package costs nothing: names are resolved on first use.
"""

from typing import TYPE_CHECKING

from .. import lazy_names

if TYPE_CHECKING:
    from ..inputs.stills import find_stills
    from ..inputs.stills.stills import Stills
    from .card import read_card
    from .config import TuneConfig
    from .crossfit import recache_tuned, tune_folds
    from .encoder import tune_cache, tune_clips, tune_stills

__getattr__ = lazy_names(__name__, __file__)
