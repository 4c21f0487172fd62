"""The words about a clip on the contact sheet and on the page."""

from __future__ import annotations

import numpy as np

from ...cache.schema import DETECTED, INTERPOLATED, NO_FACE
from ..page import percent
from .clipview import ClipView
from .marks import MARKS


def clip_facts(view: ClipView) -> dict[str, str]:
    """Return what is known of a clip, by name; what is not known is left out."""
    row = view.row
    known: dict[str, str] = {name: row[name] for name in ("label", "subject", "split") if row[name]}
    if row["fold"] >= 0:
        known["fold"] = str(row["fold"])
    known["frames"] = str(row["count"])
    if row["decoded"] < row["declared"]:
        known["incomplete"] = f"{row['decoded']} of {row['declared']} frames"
    known["coverage"] = f"{percent(row['coverage']).words}"
    if row["box_jitter"] is not None:
        known["box jitter"] = f"{row['box_jitter']:.4f} sides"
    known |= {
        name.replace("_", " "): str(row[name]) for name in ("tracks", "identity_changes") if row[name] is not None
    }
    return known


def facts_line(view: ClipView) -> str:
    """Return what is known of a clip in one line."""
    return ", ".join(f"{name} {value}" for name, value in clip_facts(view).items())


def mark_counts(state: np.ndarray) -> str:
    """Count the frames of each state."""
    return ", ".join(f"{int((state == code).sum())} {MARKS[code].words}" for code in (DETECTED, INTERPOLATED, NO_FACE))
