"""Stage two: a cache → a trained Expression Snippet Transformer.

`fit` trains, `evaluate` scores a run again, `load_official` reads the authors' weights.

Importing this package costs nothing: names are resolved on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config.config import PRESETS, DataConfig, LoopConfig, TrainConfig
    from .config.finetune import FinetuneConfig
    from .config.protocol import ProtocolConfig
    from .config.sampling import SamplingConfig
    from .evaluation import Change, Evaluation, evaluate
    from .fitting import fit
    from .loop.watch import Watch
    from .models import EST, ModelConfig, build_model, describe, load_official, save_official
    from .results.results import Results
    from .results.run import Run

_HOME = {
    "Change": "evaluation",
    "DataConfig": "config.config",
    "EST": "models",
    "Evaluation": "evaluation",
    "FinetuneConfig": "config.finetune",
    "LoopConfig": "config.config",
    "ModelConfig": "models",
    "PRESETS": "config.config",
    "ProtocolConfig": "folds.protocols",
    "Results": "results.results",
    "Run": "results.run",
    "SamplingConfig": "data.sampling",
    "TrainConfig": "config.config",
    "Watch": "loop.watch",
    "build_model": "models",
    "describe": "models",
    "evaluate": "evaluation",
    "fit": "fitting",
    "load_official": "models",
    "save_official": "models",
}

__all__ = [
    "EST",
    "PRESETS",
    "Change",
    "DataConfig",
    "Evaluation",
    "FinetuneConfig",
    "LoopConfig",
    "ModelConfig",
    "ProtocolConfig",
    "Results",
    "Run",
    "SamplingConfig",
    "TrainConfig",
    "Watch",
    "build_model",
    "describe",
    "evaluate",
    "fit",
    "load_official",
    "save_official",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
