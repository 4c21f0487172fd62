"""The paper's model on frame features, its costs, and its authors' checkpoints.

Names are resolved on first use: the backbone, and torchvision with it, is loaded only to count it or to load a checkpoint.
"""

from typing import TYPE_CHECKING

from ... import lazy_names

if TYPE_CHECKING:
    from .est.config import ModelConfig
    from .est.count import Description, Row, count_macs, count_parameters, describe
    from .est.model import EST, Output, build_model
    from .est.official import OfficialEST, load_official, save_official
    from .est.order import draw_orders
    from .tuned import Tuned

__getattr__, __all__ = lazy_names(__name__, __file__)
