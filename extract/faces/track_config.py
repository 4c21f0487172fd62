"""How faces are followed, and which of them are kept: the settings, and what a recipe says of them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Literal

from ...errors import UsageError, expect_choice

AcrossCuts = Literal["keep", "longest", "split"]

# What stands in a recipe behind "gap 15, iou 0.3": each part only where it changes rows.
LENGTH, SIDE, TRIMMED, PEOPLE = ", length ", ", side ", ", trimmed", ", people "


@dataclass(frozen=True, kw_only=True)
class TrackConfig:
    """How faces are followed, and which of them are kept."""

    face: Literal["main", "largest", "all"] = "main"
    across_cuts: AcrossCuts = "keep"  # of the main face: where another person takes over
    max_gap: int = 15  # frames without a detection that are still interpolated: half a second at 30 frames/s
    min_iou: float = 0.3  # a face may move by half its width between two runs of the detector, or grow by 1.8 in side
    # Deviation in frames of the Gaussian over time; 0 is off. 2 takes a third of the jitter that every third frame leaves, and two thirds
    # of every frame's, and an eighth of the swing of a nod of 1 Hz at 25 frames/s.
    smooth: float = 2.0
    min_length: int = 10  # frames that a track lasts to be a clip of its own with face = "all"
    min_side: int = 0  # pixels: median longer side of the boxes of such a track
    trim: bool = True  # with face = "all": rows from the first frame of a track to its last, not of the whole source

    def describe(self) -> str:
        """Return what the recipe says of it, beside `face` and `smooth`."""
        text = f"gap {self.max_gap}, iou {self.min_iou:g}"
        if self.face == "all":
            text += f"{LENGTH}{self.min_length}"
            text += f"{SIDE}{self.min_side}" if self.min_side else ""
            text += TRIMMED if self.trim else ""
        if self.across_cuts != "keep":
            from .people import method

            text += f"{PEOPLE}{self.across_cuts} by {method()}"
        return text

    def __post_init__(self) -> None:
        if self.face not in ("main", "largest", "all"):
            raise UsageError(f"--face is main, largest or all, found {self.face!r}.", remedy="--face main")
        expect_choice("--across-cuts", self.across_cuts, ("keep", "longest", "split"))
        if self.max_gap < 0:
            raise UsageError(f"A gap has 0 frames or more, found {self.max_gap}.", remedy="--set max_gap=15")
        if not 0 < self.min_iou < 1:
            raise UsageError(f"An overlap lies between 0 and 1, found {self.min_iou:g}.", remedy="--set min_iou=0.3")
        if not 0 <= self.smooth < math.inf:
            raise UsageError(f"--smooth is a number of frames, 0 for none, found {self.smooth:g}.", remedy="--smooth 2")
        if self.min_length < 1:
            raise UsageError(f"A track has at least one frame, found {self.min_length}.", remedy="--min-track 10")
        if self.min_side < 0:
            raise UsageError(f"A face has 0 pixels or more, found {self.min_side}.", remedy="--min-face-size 40")
        if self.across_cuts != "keep" and self.face != "main":
            raise UsageError(
                f"--across-cuts {self.across_cuts} needs --face main, found --face {self.face}.",
                remedy="--face main",
            )
        if self.face != "all":
            for option, value, default in (
                ("--min-track", self.min_length, TrackConfig.min_length),
                ("--min-face-size", self.min_side, TrackConfig.min_side),
            ):
                if value != default:
                    raise UsageError(
                        f"{option} {value} needs --face all, found --face {self.face}.",
                        remedy="--face all",
                    )


def tracking_options(text: str) -> dict[str, Any]:
    """Return the settings that a recipe's `tracking` tells, by the names that options of `est extract` have."""

    def number(before: str, default: int) -> int:
        found = re.search(rf"{before}(\d+)", text)
        return int(found.group(1)) if found else default

    people = re.search(rf"{PEOPLE}(\w+)", text)
    return {
        "across_cuts": people.group(1) if people else TrackConfig.across_cuts,
        "min_track": number(LENGTH, TrackConfig.min_length),
        "min_face_size": number(SIDE, TrackConfig.min_side),
    }


def is_trimmed(text: str) -> bool:
    """Return whether clips of every face have the rows of a track alone, by a recipe's `tracking`."""
    return TRIMMED in text


def gives_parts(text: str) -> bool:
    """Return whether a clip may be a part of its source, by a recipe's `tracking`."""
    return is_trimmed(text) or tracking_options(text)["across_cuts"] == "split"


def without_people(text: str) -> str:
    """Return a recipe's `tracking` without the settings of people: how faces are followed."""
    return text.partition(PEOPLE)[0]
