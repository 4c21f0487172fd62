"""Procedurally rendered, labelled face videos: the project's only data, and its planted truth.

A parametric face drawn with NumPy and OpenCV makes an expression over time, and every frame comes with the face box, the
landmarks and the parameters it was drawn from. Importing this package costs nothing: names are resolved on first use.
"""

from typing import TYPE_CHECKING

from .. import lazy_names

if TYPE_CHECKING:
    from .action import EXPRESSIONS, Action
    from .clip import FrameTruth, render_clip, render_frame
    from .identity import Identity
    from .renderset import render_set
    from .sheet import contact_sheet, save_sheet
    from .spec import RESERVED_SEEDS, ClipPlan, RenderSpec, plan_set

__getattr__ = lazy_names(__name__, __file__)
