"""The paper's model on frame features, its costs, and its authors' checkpoints.

Names are resolved on first use: the backbone, and torchvision with it, is loaded only to count it or to load a checkpoint.
"""

from typing import TYPE_CHECKING

from ... import lazy_names

if TYPE_CHECKING:
    from .contract import ModelConfig
    from .description import Description, Row
    from .est.config import Config as EstConfig
    from .est.count import count_macs, count_parameters, describe
    from .est.model import EST, Output
    from .est.official import OfficialEST, load_official, save_official
    from .est.order import draw_orders
    from .finetuned import FinetunedModel
    from .registry import MODELS, build_model

__getattr__ = lazy_names(__name__, __file__)
