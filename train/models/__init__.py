"""The paper's model on frame features, its costs, and its authors' checkpoints.

Names are resolved on first use: the backbone, and torchvision with it, is loaded only to count it or to load a checkpoint.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .config import ModelConfig
    from .count import Description, Row, count_macs, count_parameters, describe
    from .est import EST, Output, build_model
    from .official import OfficialEST, load_official, save_official
    from .order import draw_orders
    from .tuned import Tuned

_HOME = {
    "EST": "est",
    "Description": "count",
    "ModelConfig": "config",
    "OfficialEST": "official",
    "Output": "est",
    "Row": "count",
    "Tuned": "tuned",
    "build_model": "est",
    "count_macs": "count",
    "count_parameters": "count",
    "describe": "count",
    "draw_orders": "order",
    "load_official": "official",
    "save_official": "official",
}

__all__ = [
    "EST",
    "Description",
    "ModelConfig",
    "OfficialEST",
    "Output",
    "Row",
    "Tuned",
    "build_model",
    "count_macs",
    "count_parameters",
    "describe",
    "draw_orders",
    "load_official",
    "save_official",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
