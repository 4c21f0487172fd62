"""Procedurally rendered, labelled face videos: the project's only data, and its planted truth.

A parametric face drawn with NumPy and OpenCV makes an expression over time, and every frame comes with the face box, the
landmarks and the parameters it was drawn from. Importing this package costs nothing: names are resolved on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .action import EXPRESSIONS, Action
    from .clip import FrameTruth, render_clip, render_frame
    from .identity import Identity
    from .renderset import render_set
    from .sheet import contact_sheet, save_sheet
    from .spec import RESERVED_SEEDS, ClipPlan, RenderSpec, plan_set

_HOME = {
    "EXPRESSIONS": "action",
    "RESERVED_SEEDS": "spec",
    "Action": "action",
    "ClipPlan": "spec",
    "FrameTruth": "clip",
    "Identity": "identity",
    "RenderSpec": "spec",
    "contact_sheet": "sheet",
    "plan_set": "spec",
    "render_clip": "clip",
    "render_frame": "clip",
    "render_set": "renderset",
    "save_sheet": "sheet",
}

__all__ = [
    "EXPRESSIONS",
    "RESERVED_SEEDS",
    "Action",
    "ClipPlan",
    "FrameTruth",
    "Identity",
    "RenderSpec",
    "contact_sheet",
    "plan_set",
    "render_clip",
    "render_frame",
    "render_set",
    "save_sheet",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)
