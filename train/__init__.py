"""Stage two: a cache → a trained Expression Snippet Transformer.

`fit` trains, `evaluate` scores a run again, `load_official` reads the authors' weights.

Importing this package costs nothing: names are resolved on first use.
"""

from typing import TYPE_CHECKING

from .. import lazy_names

if TYPE_CHECKING:
    from .config.config import PRESETS, DataConfig, LoopConfig, TrainConfig
    from .config.finetune import FinetuneConfig
    from .config.loss import LossConfig
    from .config.protocol import ProtocolConfig
    from .config.sampling import SamplingConfig
    from .evaluated import Change, Evaluation
    from .evaluation import evaluate
    from .fitting import fit
    from .loop.watch import TrainingWatch
    from .models import EST, EstConfig, ModelConfig, build_model, describe, load_official, save_official
    from .models.registry import model_config
    from .preparation import Prepared, prepare
    from .results.results import Results
    from .runs.run import Run

__getattr__ = lazy_names(__name__, __file__)
