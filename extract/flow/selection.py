"""Which frames of a clip are compared with its onset: SLSTT's eleven around the annotated apex, or eleven over the whole clip.

A position may lie between two frames: where a clip has fewer frames than rows, each of its frames keeps a row, and the rows between are
interpolated. The authors make such frames with a network (RIFE); here the flow of the two neighbours is mixed, each by its nearness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ...cache.recipe import ANNOTATED_APEX
from ...errors import EstError

Rule = Literal["apex", "whole"]  # of one clip
FlowFrames = Literal["apex", "whole", "auto"]  # of a cache; auto: a rule for each clip

NUM_ROWS = 11
BEFORE_APEX = 5  # frames before the apex with which the rows begin
_APEX = f"{NUM_ROWS} frames from max(apex - {BEFORE_APEX}, onset + 1), {ANNOTATED_APEX}"
_WHOLE = f"{NUM_ROWS} frames evenly over the whole clip behind its onset"
_MISSING = "missing ones between neighbours"
SAMPLING: Mapping[FlowFrames, str] = {
    "apex": f"{_APEX}; {_MISSING}",
    "whole": f"{_WHOLE}, no apex; {_MISSING}",
    "auto": f"{_APEX}; {_WHOLE} where onset or apex is not known; {_MISSING}",
}  # as recipes have it
APEX = "a column apex in the list, or a --dataset that knows it"
ONSETS = "a column onset in the list (and apex, offset), or a --dataset that knows them"


class FrameError(EstError):
    """Moments that a clip does not have."""


@dataclass(frozen=True, kw_only=True)
class Moments:
    """The moments of a clip that are told, as frames of the clip; −1 where one is not."""

    onset: int = -1
    apex: int = -1

    def rule(self, frames: FlowFrames) -> Rule:
        """Return by which rule the frames of this clip are chosen."""
        if frames == "auto":
            return "whole" if self.onset < 0 or self.apex < 0 else "apex"
        return frames

    def reference(self, frames: Rule) -> int:
        """Return the frame that the others are compared with; over a whole clip of unknown onset, the first."""
        return 0 if frames == "whole" and self.onset < 0 else self.onset

    def problem(self, frames: Rule) -> str:
        """Return what is not told, or cannot be, before a frame is decoded; empty when it suffices."""
        if frames == "whole":
            return ""
        if self.onset < 0:
            return f"its onset is not known. Try: {ONSETS}; or --flow-frames auto, which then takes the whole clip from its first frame"
        if self.apex < 0:
            return f"its apex is not known. Try: {APEX}; or --flow-frames auto, which then takes the whole clip"
        if self.apex < self.onset:
            return f"its apex {self.apex} is before its onset {self.onset}. Try: correct the list; both count the clip's frames from 0"
        return ""


def first_position(moments: Moments, frames: Rule) -> int:
    """Return the first frame that is compared."""
    reference = moments.reference(frames)
    return reference + 1 if frames == "whole" else max(moments.apex - BEFORE_APEX, reference + 1)


def last_position(moments: Moments, frames: Rule) -> int | None:
    """Return the last frame that can be compared, where that does not depend on the clip's length."""
    return None if frames == "whole" else first_position(moments, frames) + NUM_ROWS - 1


def positions(moments: Moments, frames: Rule, num_frames: int) -> np.ndarray:
    """Return the places of the rows in a clip of so many frames; between frames where there are fewer frames than rows.  # (11,)"""
    reference = moments.reference(frames)
    for name, frame in (("onset", reference), *([("apex", moments.apex)] if frames == "apex" else [])):
        if frame >= num_frames:
            raise FrameError(
                f"its {name} {frame} is beyond the end of the clip, which has {num_frames} frames, counted from 0",
                remedy="correct the list: frames are those of the clip, not of the video that it was cut from",
            )
    first, end = first_position(moments, frames), num_frames - 1
    if first > end:
        raise FrameError(
            f"it has {num_frames} frame{'s' * (num_frames != 1)} and ends with its onset, frame {reference}: no "
            f"later frame is left to compare",
            remedy="a clip that continues after its onset",
        )
    if frames == "apex" and first + NUM_ROWS - 1 <= end:
        return np.arange(first, first + NUM_ROWS, dtype=np.float64)
    there = end - first + 1
    if there >= NUM_ROWS:
        return np.rint(np.linspace(first, end, NUM_ROWS))
    rows = np.rint(np.linspace(0, NUM_ROWS - 1, there))  # of the frames that there are
    return np.interp(np.arange(NUM_ROWS), rows, np.arange(first, end + 1))


def is_between(places: np.ndarray) -> np.ndarray:
    """Return which rows are interpolated, or repeat the frame of the row before.  # (rows,) → (rows,) bool"""
    return (places != np.rint(places)) | np.concatenate([[False], np.diff(places) == 0])


def neighbours(place: float) -> list[tuple[int, float]]:
    """Return the frames that a row is made of, and the share of each."""
    below, share = int(place), place - int(place)
    return [(below, 1.0)] if share == 0 else [(below, 1.0 - share), (below + 1, share)]
