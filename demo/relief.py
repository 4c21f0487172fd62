"""The relief of a face, and the light on it.

The face is a height field: head, brow ridge, eye sockets, nose, cheeks, lips and chin. Lambert's law on its slopes gives the
shading. Every action unit adds furrows and bulges of its own (forehead lines, crow's feet, the nasolabial fold …). Their
effect on the shading is worked out once per light, at full contraction, and scaled per frame: the head is lit once per clip.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from .canvas import Canvas, Window, mirrored, ribbon, smooth_curve, soften
from .identity import Identity


@dataclass(frozen=True, kw_only=True)
class Light:
    """A soft light and its surroundings; azimuth and elevation in radians, from the camera."""

    azimuth: float = -0.6  # negative: from the image's left
    elevation: float = 0.5
    ambient: float = 0.42
    warmth: float = 0.0  # -1 cold … 1 warm
    gain: float = 1.0


@dataclass(frozen=True)
class Crease:
    """What one action unit adds on one side of the face: a patch of shading at full contraction."""

    unit: str
    side: int
    rows: slice
    columns: slice
    shade: np.ndarray  # (h, w) float32, added to the head's shading


def base_height(identity: Identity, canvas: Canvas) -> np.ndarray:
    """Return the resting relief in face units.  # (H, W) float32"""
    x, y = canvas.grid()
    side = np.abs(x)

    def bump(cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
        return np.exp(-(((side - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)

    q = (x / (1.04 * identity.width)) ** 2 + np.where(y > 0, (y / (identity.chin + 0.10)) ** 2, (y / 1.75) ** 2)
    height = 0.95 * np.sqrt(np.maximum(1.08 - np.minimum(q, 1.02), 0))
    tip = identity.nose_length
    lift, wing = identity.nose_height, identity.nose_width
    along = np.clip((y + 0.18) / (tip + 0.18), 0, 1)
    nose_width = 0.085 + 0.07 * along
    fade = np.where(y > tip, np.exp(-(((y - tip) / 0.075) ** 2)), np.clip((y + 0.32) / 0.3, 0, 1))
    height += lift * (0.18 + 0.72 * along) * np.exp(-((x / nose_width) ** 2)) * fade
    height += 0.36 * lift * bump(0, tip - 0.03, 0.115, 0.105)
    height += 0.30 * lift * bump(0.68 * wing, tip + 0.03, 0.085, 0.085)
    height += 0.05 * bump(0.36, identity.brow_y + 0.03, 0.30, 0.10)
    height -= 0.115 * bump(identity.eye_x - 0.04, 0.0, 0.25, 0.15)
    height += 0.055 * bump(identity.eye_x, 0.01, 0.17, 0.11)
    height += 0.085 * bump(0.58, 0.40, 0.24, 0.24)
    height -= 0.05 * bump(0.66, 0.92, 0.16, 0.26)
    height += 0.075 * bump(0, identity.mouth_y, 0.36, 0.25)
    height -= 0.02 * bump(0, identity.mouth_y - 0.2, 0.04, 0.08)
    height -= 0.05 * bump(0, identity.mouth_y + 0.27, 0.22, 0.07)
    height += 0.07 * bump(0, identity.chin - 0.2, 0.2, 0.15)
    if identity.age > 0.25:
        fold = soften(
            _lines(canvas.whole, (mirrored(_nasolabial(identity), s) for s in (-1, 1)), 0.03), 0.022 * canvas.scale
        )
        height -= 0.03 * (identity.age - 0.25) * fold
    return height.astype(np.float32)


def shade(height: np.ndarray, light: Light, scale: float) -> np.ndarray:
    """Return the light that each point sends to the camera, 1 where it is faced squarely.  # (H, W) float32"""
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=scale / 8)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=scale / 8)
    to_light = np.array(
        [
            np.sin(light.azimuth) * np.cos(light.elevation),
            -np.sin(light.elevation),
            np.cos(light.azimuth) * np.cos(light.elevation),
        ]
    )
    norm = 1 / np.sqrt(1 + slope_x**2 + slope_y**2)
    facing = (-slope_x * to_light[0] - slope_y * to_light[1] + to_light[2]) * norm
    # Light wraps a little around the edge of soft matter; skin is not chalk.
    diffuse = np.maximum((facing + 0.22) / 1.22, 0)
    half = to_light + np.array([0, 0, 1])
    half /= np.linalg.norm(half)
    glint = np.maximum((-slope_x * half[0] - slope_y * half[1] + half[2]) * norm, 0)
    level = light.ambient + (1 - light.ambient) * (0.94 * diffuse + 0.20 * glint**22)
    return (level * (0.90 + 0.10 * norm)).astype(np.float32) * np.float32(1.10)


def creases(identity: Identity, canvas: Canvas, height: np.ndarray, light: Light) -> list[Crease]:
    """Work out what each action unit adds to the shading."""
    found = []
    strength = 0.8 + 0.5 * identity.age
    for unit, lines, line_width, depth, bulges in _furrows(identity):
        window = canvas.window(*_extent(lines, bulges, 4 * line_width))
        x, y = (
            window.left + np.arange(window.shape[1]) / canvas.scale,
            window.top + np.arange(window.shape[0]) / canvas.scale,
        )
        relief, groove = np.zeros(window.shape, np.float32), np.zeros(window.shape, np.float32)
        for line in lines:
            sides = (1,) if np.all(line[:, 0] == 0) else (-1, 1)
            groove += _lines(window, (mirrored(line, side) for side in sides), line_width)
        if lines:
            groove = soften(np.minimum(groove, 1), 0.42 * line_width * canvas.scale)
            relief -= depth * strength * (groove - 0.55 * soften(groove, 1.6 * line_width * canvas.scale))
        for cx, cy, sx, sy, lift in bulges:
            across, down = np.exp(-(((np.abs(x) - cx) / sx) ** 2)), np.exp(-(((y - cy) / sy) ** 2))
            relief += (lift * down[:, None] * across).astype(np.float32)
        before = window.of(height)
        change = shade(before + relief, light, canvas.scale) - shade(before, light, canvas.scale)
        change -= 3.2 * depth * strength * groove
        for side in (-1, 1):
            # A soft seam, so that an uneven face has no line down its middle.
            part = change * (1 / (1 + np.exp(-side * x / 0.06)))
            seen = np.abs(part).max(0) > 0.004
            columns = np.flatnonzero(seen)
            if len(columns):
                near = slice(columns[0], columns[-1] + 1)
                area = slice(window.columns.start + columns[0], window.columns.start + columns[-1] + 1)
                shade_of_side = np.ascontiguousarray(part[:, near], dtype=np.float32)
                found.append(Crease(unit, side, window.rows, area, shade_of_side))
    return found


def _extent(
    lines: list[np.ndarray], bulges: list[tuple[float, float, float, float, float]], margin: float
) -> tuple[float, float, float, float]:
    """Return the symmetric rectangle outside which a unit changes nothing."""
    points = [*np.concatenate(lines)] if lines else []
    for cx, cy, sx, sy, _ in bulges:
        points += [(cx + 2.4 * sx, cy - 2.4 * sy), (cx + 2.4 * sx, cy + 2.4 * sy)]
    far = np.array(points)
    wide = far[:, 0].max() + margin
    return -wide, far[:, 1].min() - margin, wide, far[:, 1].max() + margin


def _furrows(
    identity: Identity,
) -> list[tuple[str, list[np.ndarray], float, float, list[tuple[float, float, float, float, float]]]]:
    """List unit, lines, their width and depth, and bulges (x, y, sx, sy, lift), on the image's right.

    Lines cross the midline where x starts at zero.
    """
    eye, brow, mouth, wide = identity.eye_x, identity.brow_y, identity.mouth_y, identity.mouth_width
    nose, wing, chin = identity.nose_length, identity.nose_width, identity.chin
    forehead = [brow - 0.20, brow - 0.32, brow - 0.44]
    inner = [np.array([(0, y + 0.02), (0.16, y), (0.32, y + 0.03)]) for y in forehead]
    outer = [np.array([(0.28, y + 0.03), (0.46, y - 0.02), (0.64, y + 0.03)]) for y in forehead]
    crow = [
        np.array([(eye + 0.27, 0.0 + d), (eye + 0.34, 1.6 * d), (eye + 0.41, 2.3 * d)]) for d in (-0.05, 0.02, 0.08)
    ]
    under_eye = np.array([(eye - 0.2, 0.13), (eye, 0.19), (eye + 0.22, 0.12)])
    bunny = [np.array([(0.03, y), (0.10, y - 0.03), (0.17, y - 0.10)]) for y in (0.08, 0.17, 0.26)]
    frown = [
        np.array([(0.085, brow + 0.17), (0.065, brow + 0.04), (0.085, brow - 0.12)]),
        np.array([(0.0, brow + 0.2), (0.05, brow + 0.215), (0.1, brow + 0.20)]),
    ]
    nasolabial = _nasolabial(identity)
    sneer = np.array([(wing - 0.02, nose - 0.08), (wing + 0.09, nose), (wing + 0.16, nose + 0.18)])
    below_corner = np.array([(wide + 0.05, mouth + 0.08), (wide + 0.10, mouth + 0.2), (wide + 0.07, mouth + 0.34)])
    bracket = np.array([(wide + 0.14, mouth - 0.12), (wide + 0.2, mouth + 0.02), (wide + 0.15, mouth + 0.16)])
    chin_fold = np.array([(0.0, chin - 0.33), (0.14, chin - 0.32), (0.24, chin - 0.27)])
    return [
        ("inner_brow_raise", inner, 0.062, 0.024, [(0.16, brow - 0.12, 0.18, 0.09, 0.03)]),
        ("outer_brow_raise", outer, 0.062, 0.024, [(0.55, brow - 0.1, 0.2, 0.08, 0.025)]),
        (
            "brow_lower",
            frown,
            0.045,
            0.042,
            [(0.17, brow + 0.04, 0.09, 0.09, 0.05), (0.3, brow - 0.02, 0.2, 0.07, 0.03)],
        ),
        ("cheek_raise", [*crow, under_eye], 0.042, 0.022, [(0.52, 0.34, 0.24, 0.13, 0.06)]),
        ("lid_tighten", [under_eye], 0.04, 0.018, [(eye, 0.12, 0.2, 0.04, 0.02)]),
        ("nose_wrinkle", [*bunny, sneer], 0.05, 0.030, [(0.2, nose - 0.14, 0.08, 0.1, 0.03)]),
        ("upper_lip_raise", [sneer], 0.06, 0.035, [(0.36, nose + 0.05, 0.14, 0.12, 0.04)]),
        ("lip_corner_up", [nasolabial], 0.06, 0.042, [(0.55, 0.50, 0.2, 0.17, 0.06)]),
        ("lip_corner_down", [below_corner], 0.05, 0.034, [(wide + 0.16, mouth + 0.16, 0.07, 0.12, 0.02)]),
        ("chin_raise", [chin_fold], 0.06, 0.032, [(0.1, chin - 0.16, 0.09, 0.09, 0.03)]),
        ("lip_stretch", [bracket], 0.05, 0.028, []),
        ("lip_press", [], 0.05, 0.0, [(0.0, mouth - 0.12, 0.3, 0.05, 0.03), (0.0, mouth + 0.13, 0.28, 0.05, 0.025)]),
        ("jaw_drop", [], 0.05, 0.0, [(0.62, 0.95, 0.16, 0.3, -0.05)]),
    ]


def _nasolabial(identity: Identity) -> np.ndarray:
    """Return the fold from the wing of the nose to beside the mouth."""
    nose, wing, mouth, wide = identity.nose_length, identity.nose_width, identity.mouth_y, identity.mouth_width
    controls = [
        (wing + 0.02, nose - 0.02),
        (wide + 0.06, nose + 0.16),
        (wide + 0.15, mouth - 0.08),
        (wide + 0.14, mouth + 0.1),
    ]
    return smooth_curve(np.array(controls), 12)


def _lines(window: Window, lines: Iterable[np.ndarray], width: float) -> np.ndarray:
    """Return the coverage of tapering strokes.  # (H, W) float32"""
    mask = np.zeros(window.shape, np.uint8)
    for line in lines:
        dense = smooth_curve(line, 14)
        taper = np.sin(np.linspace(0.15 if line[0][0] != 0 else 1.5, np.pi - 0.1, 14))
        window.fill(mask, ribbon(dense, width * taper), 255)
    return mask.astype(np.float32) / 255
