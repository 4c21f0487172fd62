"""Things that pass before the face: a hand, a sheet of paper, a dark bar."""

from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import SHIFT, smooth_curve
from .identity import Identity

OCCLUDERS = ("hand", "paper", "bar")
HIDDEN = 0.12  # part of the face box that may be covered while the face still counts as visible


@dataclass(frozen=True, kw_only=True)
class Occluder:
    """One thing before the face: its place in face units from between the eyes, its angle in radians."""

    kind: str
    x: float
    y: float
    angle: float = 0.0
    size: float = 1.0


def outlines(occluder: Occluder) -> list[np.ndarray]:
    """Return the polygons that make it up, in face units."""
    if occluder.kind == "paper":
        parts = [np.array([(-0.9, -0.65), (0.9, -0.6), (0.95, 1.6), (-0.92, 1.55)])]
    elif occluder.kind == "bar":
        parts = [np.array([(-4.0, -0.3), (4.0, -0.3), (4.0, 0.3), (-4.0, 0.3)])]
    else:
        palm = [
            (-0.42, 0.0),
            (0.0, -0.08),
            (0.42, 0.0),
            (0.5, 0.5),
            (0.36, 1.0),
            (0.3, 3.0),
            (-0.3, 3.0),
            (-0.38, 1.0),
            (-0.5, 0.5),
        ]
        parts = [smooth_curve(np.array(palm), 40, closed=True)]
        for base, tip in (
            ((-0.34, 0.1), (-0.44, -0.62)),
            ((-0.12, 0.05), (-0.15, -0.82)),
            ((0.11, 0.05), (0.13, -0.8)),
            ((0.33, 0.1), (0.42, -0.6)),
            ((0.42, 0.6), (0.85, 0.0)),
        ):
            parts.append(_capsule(np.array(base), np.array(tip), 0.125))
    cosine, sine = np.cos(occluder.angle), np.sin(occluder.angle)
    turn = np.array([[cosine, sine], [-sine, cosine]])
    return [part @ turn * occluder.size + (occluder.x, occluder.y) for part in parts]


def draw_occluder(
    frame: np.ndarray, occluder: Occluder, identity: Identity, origin: np.ndarray, unit: float, gain: float
) -> None:
    """Draw it over the frame, in place."""
    colours = {
        "paper": np.array([226.0, 230, 232]),
        "bar": np.array([30.0, 30, 34]),
        "hand": np.array(identity.skin) * 0.95,
    }
    colour = np.clip(colours[occluder.kind] * gain, 0, 255)
    parts = outlines(occluder)
    for part in parts:
        fixed = np.round((part * unit + origin) * (1 << SHIFT)).astype(np.int32)
        cv2.fillPoly(frame, [fixed], tuple(colour.tolist()), cv2.LINE_AA, SHIFT)
        if occluder.kind != "bar":
            edge = tuple((colour * (0.62 if occluder.kind == "hand" else 0.85)).tolist())
            cv2.polylines(frame, [fixed], True, edge, max(round(unit / 45), 1), cv2.LINE_AA, SHIFT)
    if occluder.kind == "hand":  # the palm covers where the fingers are rooted
        core = (parts[0] - parts[0].mean(0)) * (0.93, 0.97) + parts[0].mean(0)
        fixed = np.round((core * unit + origin) * (1 << SHIFT)).astype(np.int32)
        cv2.fillPoly(frame, [fixed], tuple((colour * 0.97).tolist()), cv2.LINE_AA, SHIFT)
    if occluder.kind == "paper":
        corner = parts[0]
        for line in np.linspace(0.1, 0.9, 9):
            ends = corner[0] + (corner[3] - corner[0]) * line, corner[1] + (corner[2] - corner[1]) * line
            start, end = ends[0] * 0.9 + ends[1] * 0.1, ends[0] * 0.15 + ends[1] * 0.85
            fixed = np.round((np.stack([start, end]) * unit + origin) * (1 << SHIFT)).astype(np.int32)
            cv2.polylines(frame, [fixed], False, (120, 116, 112), max(round(unit / 40), 1), cv2.LINE_AA, SHIFT)


def covered_part(occluder: Occluder, origin: np.ndarray, unit: float, box: tuple[float, float, float, float]) -> float:
    """Return the part of a box in the frame that it covers."""
    side = 32
    mask = np.zeros((side, side), np.uint8)
    x0, y0, x1, y1 = box
    for part in outlines(occluder):
        inside = (part * unit + origin - (x0, y0)) / (x1 - x0, y1 - y0) * side
        cv2.fillPoly(mask, [np.round(inside * (1 << SHIFT)).astype(np.int32)], 1, cv2.LINE_8, SHIFT)
    return float(mask.mean())


def _capsule(base: np.ndarray, tip: np.ndarray, radius: float) -> np.ndarray:
    along = (tip - base) / np.linalg.norm(tip - base)
    across = np.array([-along[1], along[0]])
    angle = np.linspace(-np.pi / 2, np.pi / 2, 11)[:, None]
    end = tip + radius * 0.85 * (np.cos(angle) * along + np.sin(angle) * across)
    return np.concatenate([[base - radius * across], end, [base + radius * across]])
