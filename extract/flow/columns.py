"""What the clip table says of flow, in extra columns: the frames of the source that the rows were made of.

A clip's own onset, apex and offset are frames among its rows, of which there are eleven; so those of the source stand here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...cache.schema import ColumnSpec
from .selection import NUM_ROWS, Moments

COLUMNS: Mapping[str, ColumnSpec] = {
    "flow_onset": ColumnSpec(dtype="int64"),  # the frame that the others are compared with
    "flow_apex": ColumnSpec(dtype="int64"),  # as told; −1: not told, or not needed
    "flow_frames": ColumnSpec(
        dtype="float64", shape=(NUM_ROWS,)
    ),  # of each row; between two frames where it is interpolated
}


def cells(moments: Moments, reference: int, places: np.ndarray) -> dict[str, Any]:
    """Return a clip's cells."""
    return {"flow_onset": reference, "flow_apex": moments.apex, "flow_frames": tuple(places.tolist())}
