"""The eyes: lids, sclera, iris, lashes and creases, drawn from their contours in every frame."""

from dataclasses import dataclass

import numpy as np

from .action import Action
from .canvas import Canvas, Window, mirrored, paint, soften
from .identity import Identity

_SCLERA = np.array([216.0, 222.0, 228.0])
_T = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 17))  # from the inner canthus to the outer


@dataclass(frozen=True)
class EyeShape:
    """Lids from the inner canthus to the outer one, in face units.  # each (17, 2)"""

    side: int
    centre: tuple[float, float]
    upper: np.ndarray
    lower: np.ndarray
    fold: np.ndarray  # the crease above the lid


def eye_shape(identity: Identity, action: Action, side: int) -> EyeShape:
    """Return the contours of one eye; side is 1 on the image's right and -1 on its left."""
    a = action
    uneven = 1.0 + 0.6 * side * a.asymmetry
    half, height = identity.eye_width, identity.eye_height
    above = height * 0.56 + (0.075 * a.lid_raise - 0.022 * a.lid_tighten - 0.02 * a.brow_lower * 0.4) * uneven
    above += 0.01 * (a.inner_brow_raise + a.outer_brow_raise) * 0.5 - 0.018 * a.cheek_raise - 0.022 * a.nose_wrinkle
    above -= 0.03 * max(a.gaze_y, 0)  # the lid follows the gaze down
    below = height * 0.44 - (0.042 * a.lid_tighten + 0.045 * a.cheek_raise + 0.03 * a.nose_wrinkle) * uneven
    below = max(below, 0.006)
    shut = min(a.blink, 1.0)
    meet = below * 0.97
    above = max(above, -below + 0.02) * (1 - shut) - meet * shut
    tilt = -identity.eye_tilt * _T
    upper = tilt - above * (1 - np.abs(_T) ** 2.3) * (1 - 0.10 * _T)
    lower = tilt + below * (1 - np.abs(_T) ** 2.2) * (1 + 0.14 * _T)
    lower = np.maximum(lower, upper)
    # Brows press the fold onto the lid, or draw it up.
    rest = height * 0.56 + 0.055 + 0.035 * a.outer_brow_raise + 0.03 * a.inner_brow_raise - 0.055 * a.brow_lower
    rest = max(rest - 0.02 * a.cheek_raise - 0.02 * a.nose_wrinkle, above + 0.012)
    fold = tilt * 1.2 - rest * (1 - 0.8 * np.abs(_T) ** 2.2) - 0.01
    x = identity.eye_x + half * _T
    curves = (mirrored(np.stack([x, y], axis=1), side) for y in (upper, lower, fold))
    return EyeShape(side, (side * identity.eye_x, 0.0), *curves)


def draw_eye(albedo: np.ndarray, canvas: Canvas, identity: Identity, action: Action, shape: EyeShape) -> None:
    """Draw one eye onto the skin, before light."""
    cx, _ = shape.centre
    reach = canvas.window(cx - 0.34, -0.30, cx + 0.34, 0.22)
    patch = reach.of(albedo)
    skin = np.array(identity.skin)
    lash = np.minimum(np.array(identity.hair_colour) * 0.35 + 6, 60)
    lid = np.concatenate([shape.fold, shape.upper[::-1]])
    reach.lay(patch, lid, skin * (0.86, 0.86, 0.90), 0.55, 0.02)
    reach.line(patch, shape.fold[1:], _tapered(16, 0.022), skin * 0.55, 0.35 + 0.4 * identity.lid, 0.008)
    if (shape.lower - shape.upper)[:, 1].max() > 0.012:
        _draw_ball(patch, reach, identity, action, shape)
    # The line of the lashes grows towards the outer corner, and ends past it.
    tail = shape.upper[-1] + mirrored(np.array([(0.035, -0.012)]), shape.side)
    line = np.concatenate([shape.upper, tail])
    width = np.concatenate([np.linspace(0.012, 0.04, 15), [0.038, 0.026, 0.004]])
    reach.line(patch, line, width, lash, 0.9, 0.004)
    reach.line(patch, shape.lower, _tapered(17, 0.014), lash + 0.35 * skin, 0.6, 0.004)
    inner = shape.upper[:2].mean(0)
    reach.disc(patch, (inner[0], inner[1] + 0.004), 0.013, tuple(skin * (0.66, 0.66, 0.88)))


def _draw_ball(patch: np.ndarray, reach: Window, identity: Identity, action: Action, shape: EyeShape) -> None:
    cx, _ = shape.centre
    ball = np.empty((*reach.shape, 3), np.uint8)
    # The ball turns away at the corners.
    away = np.abs(reach.left + np.arange(reach.shape[1]) / reach.scale - cx)[:, None] / identity.eye_width
    ball[:] = _SCLERA - np.minimum(away, 1.1) ** 3 * (62, 58, 40)
    x = cx + 0.075 * action.gaze_x
    y = -0.014 + 0.055 * action.gaze_y
    iris = np.array(identity.iris)
    radius = 0.104
    reach.disc(ball, (x, y), radius, tuple(iris * 0.42))
    reach.disc(ball, (x, y), radius * 0.86, tuple(iris))
    reach.disc(ball, (x, y + 0.022), radius * 0.58, tuple(np.minimum(iris * 1.3 + 12, 255)))
    reach.disc(ball, (x, y), radius * 0.42, (14, 12, 12))
    ball = soften(ball, 0.008 * reach.scale)
    # Lid and lashes throw a shadow.
    reach.line(ball, shape.upper, 0.075, (70, 66, 78), 0.62, 0.022)
    reach.disc(ball, (x - 0.034, y - 0.034), 0.021, (250, 250, 250))
    opening = np.concatenate([shape.upper, shape.lower[::-1]])
    paint(patch, ball, reach.mask(opening, 0.004))


def _tapered(count: int, width: float) -> np.ndarray:
    return width * (0.2 + 0.8 * np.sin(np.linspace(0.1, np.pi - 0.2, count)))
