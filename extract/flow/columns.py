"""What the clip table says of flow, in extra columns: the frames of the source that the rows were made of.

A clip's own onset, apex and offset are frames among its rows, of which there are eleven; so those of the source stand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...cache.schema import ColumnSpec
from .selection import NUM_ROWS, Moments, Rule

COLUMNS: Mapping[str, ColumnSpec] = {
    "flow_onset": ColumnSpec(dtype="int64"),  # the frame that the others are compared with
    "flow_apex": ColumnSpec(dtype="int64"),  # that chose the frames; −1: they lie over the whole clip
    "flow_frames": ColumnSpec(
        dtype="float64", shape=(NUM_ROWS,)
    ),  # of each row; between two frames where it is interpolated
}


def chosen_by(moments: Moments, rule: Rule) -> dict[str, int]:
    """Return the cells that say by which frames a clip's rows are chosen."""
    return {"flow_onset": moments.reference(rule), "flow_apex": moments.apex if rule == "apex" else -1}


def cells(moments: Moments, rule: Rule, places: np.ndarray) -> dict[str, Any]:
    """Return a clip's cells."""
    return {**chosen_by(moments, rule), "flow_frames": tuple(places.tolist())}
