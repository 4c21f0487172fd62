"""Views: augmented versions of a clip's crops, moved, mirrored, brightened, blurred, partly hidden.

All crops of a clip are changed alike, so that its motion stays what it was. Which way follows from the clip's id and the number of the
view, and from nothing else: no order of work, no number of workers, no generator.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields

import cv2
import numpy as np

from ..errors import UsageError

GREY = 127  # of what hides a part of the face
LIMITS = {"shift": 0.5, "zoom": 1.0, "brightness": 1.0, "blur": 10.0, "occlusion": 1.0}


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """How far views go; 0 leaves a change out."""

    shift: float = 0.06  # of the side, in either direction
    zoom: float = 0.1  # from 1 / 1.1 to 1.1
    brightness: float = 0.25  # from 1 / 1.25 to 1.25
    blur: float = 1.0  # standard deviation, in hundredths of the side
    occlusion: float = 0.25  # side of the hidden square, at least half of it; in one view of two
    flip: bool = True  # one view of two is mirrored

    def __post_init__(self) -> None:
        for name, limit in LIMITS.items():
            if not 0 <= getattr(self, name) <= limit:
                raise UsageError(f"The {name} of views goes from 0 to {limit:g}, found {getattr(self, name):g}.")

    def describe(self) -> str:
        """Name what is changed and how far, as a recipe does."""
        values = {item.name: getattr(self, item.name) for item in fields(self)}
        return ", ".join(name if value is True else f"{name} {value:g}" for name, value in values.items() if value)


@dataclass(frozen=True, kw_only=True)
class View:
    """How one view shows a clip; as it stands here, nothing is changed."""

    right: float = 0.0  # moved, in sides
    down: float = 0.0
    zoom: float = 1.0
    gain: float = 1.0
    blur: float = 0.0  # standard deviation, in sides
    mirrored: bool = False
    occluded: tuple[float, float, float] | None = None  # left, top and side of a square, in sides


def draw_view(name: str, number: int, config: ViewConfig) -> View:
    """Return how view `number` shows the clip of that id; number 0 shows it as it is."""
    if number == 0:
        return View()
    # Ten numbers whatever is left out: a setting that changes leaves the others' draws as they were.
    right, down, zoom, gain, blur, mirrored, hidden, left, top, side = _uniform(f"{json.dumps(name)} {number}", 10)
    square = config.occlusion * (1 + side) / 2
    return View(
        right=config.shift * (2 * right - 1),
        down=config.shift * (2 * down - 1),
        zoom=(1 + config.zoom) ** (2 * zoom - 1),
        gain=(1 + config.brightness) ** (2 * gain - 1),
        blur=config.blur / 100 * blur,
        mirrored=config.flip and mirrored < 0.5,
        occluded=(left * (1 - square), top * (1 - square), square) if square and hidden < 0.5 else None,
    )


def show(crop: np.ndarray, view: View) -> np.ndarray:
    """Return a crop as a view shows it; the border is repeated outside.  # (S, S, 3) uint8 BGR → the same"""
    side = len(crop)
    if (view.right, view.down, view.zoom) != (0.0, 0.0, 1.0):
        middle = (side - 1) / 2  # in numbers of pixels, as OpenCV's maps are
        across = -view.zoom if view.mirrored else view.zoom
        matrix = np.array(
            [
                [across, 0, middle - across * middle + view.right * side],
                [0, view.zoom, middle - view.zoom * middle + view.down * side],
            ]
        )
        crop = cv2.warpAffine(crop, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    elif view.mirrored:
        crop = cv2.flip(crop, 1)
    if view.gain != 1.0:
        crop = cv2.convertScaleAbs(crop, alpha=view.gain)
    if view.blur:
        crop = cv2.GaussianBlur(crop, (0, 0), view.blur * side, borderType=cv2.BORDER_REPLICATE)
    if view.occluded is not None:
        left, top, square = (round(part * side) for part in view.occluded)
        crop = crop.copy()
        crop[top : top + square, left : left + square] = GREY
    return crop


def _uniform(text: str, count: int) -> Iterator[float]:
    """Draw numbers from 0 to below 1 by the hash of a text."""
    words = np.frombuffer(hashlib.shake_256(text.encode()).digest(8 * count), "<u8")
    return iter(((words >> 11) / 2.0**53).tolist())
