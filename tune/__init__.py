"""Between the stages: a frame encoder learns on single labelled frames, so that the features that are cached then are better ones.

`tune_cache` and `tune_clips` learn from clips of a cache, `tune_stills` from labelled images. `recache_tuned`
does it for each fold of a protocol, and makes a cache of what the encoders see.

Importing this package costs nothing: names are resolved on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..inputs.stills import find_stills
    from ..inputs.stills.stills import Stills
    from .card import read_card
    from .config import TuneConfig
    from .crossfit import recache_tuned, tune_folds
    from .encoder import tune_cache, tune_clips, tune_stills

_HOME = {
    "Stills": "stills",
    "TuneConfig": "config",
    "find_stills": ".inputs.stills",
    "read_card": "card",
    "recache_tuned": "crossfit",
    "tune_cache": "encoder",
    "tune_clips": "encoder",
    "tune_folds": "crossfit",
    "tune_stills": "encoder",
}

__all__ = [
    "Stills",
    "TuneConfig",
    "find_stills",
    "read_card",
    "recache_tuned",
    "tune_cache",
    "tune_clips",
    "tune_folds",
    "tune_stills",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
