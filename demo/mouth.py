"""The mouth: lips, seam, teeth and tongue.

The lips are drawn from their contours in every frame, because a mouth that opens is no deformation of one that is shut. Upper
teeth stay with the skull and lower teeth with the jaw; the opening decides what is seen of them.
"""

from dataclasses import dataclass

import numpy as np

from .action import Action
from .canvas import Canvas, Window, paint, soften
from .identity import Identity
from .motion import JAW_TRAVEL

_T = np.sin(np.linspace(-np.pi / 2, np.pi / 2, 25))  # denser at the corners
_CUPID = 1 - 0.20 * np.exp(-((_T / 0.12) ** 2))


@dataclass(frozen=True)
class MouthShape:
    """The four contours from the image's left corner to its right one, in face units.  # each (25, 2)"""

    upper_outer: np.ndarray
    upper_inner: np.ndarray
    lower_inner: np.ndarray
    lower_outer: np.ndarray
    gap: float  # the widest opening
    jaw: float  # how far the lower teeth have come down

    @property
    def corners(self) -> np.ndarray:
        """The image's left corner, then its right one.  # (2, 2)"""
        return self.upper_inner[[0, -1]]


def mouth_shape(identity: Identity, action: Action) -> MouthShape:
    """Return the contours of a mouth in action."""
    a = action
    left, right = (_corner(identity, action, side) for side in (-1, 1))
    middle = identity.mouth_y + 0.004 * a.lip_corner_up - 0.03 * a.chin_raise + 0.012 * a.lip_corner_down
    middle -= 0.01 * a.lip_corner_down
    part = min(a.lips_part, 1.2)
    upper_gap = 0.028 * part + 0.07 * a.upper_lip_raise * (0.25 + min(2 * part, 1) * 0.75) * min(4 * part, 1)
    upper_gap += 0.02 * a.lip_corner_up * part + 0.012 * a.jaw_drop
    lower_gap = 0.05 * part + 0.085 * a.lower_lip_down * min(3 * part, 1) + 1.05 * JAW_TRAVEL * a.jaw_drop
    lower_gap += 0.085 * a.lip_corner_up * part
    thin = (1 - 0.62 * min(a.lip_press, 1)) * (1 - 0.22 * a.lip_stretch) * (1 - 0.2 * min(a.lip_corner_up, 1))
    full = 1 + 0.4 * a.lip_pucker
    upper = identity.upper_lip * thin * full * (1 - 0.12 * a.jaw_drop)
    lower = identity.lower_lip * thin * full * (1 + 0.22 * a.chin_raise) * (1 - 0.15 * a.jaw_drop)
    lift = 0.06 * a.upper_lip_raise * (1 - min(2 * part, 1) * 0.5)  # a sneer shows even with the lips shut
    # The mouth curves from its middle to each corner.
    blend = np.abs(_T) ** (1.7 + 0.35 * min(a.lip_corner_up, 1))
    corner_y = np.where(_T < 0, left[1], right[1])
    seam = middle + (corner_y - middle) * blend
    x = _T * np.where(_T < 0, left[0], right[0])
    round_off = np.sqrt(np.maximum(1 - _T**2, 0))
    # An open jaw rounds the mouth; a stretched one keeps it flat and square.
    box = 0.45 if a.lip_stretch + a.lower_lip_down > 0.5 else 0.7
    upper_inner = seam - upper_gap * round_off**box - 0.5 * lift * round_off
    lower_inner = seam + lower_gap * round_off**box - 0.5 * lift * round_off
    upper_outer = upper_inner - (upper * _CUPID * round_off**1.05 + 0.5 * lift * round_off)
    lower_outer = lower_inner + lower * round_off**1.15
    curves = (np.stack([x, y], axis=1) for y in (upper_outer, upper_inner, lower_inner, lower_outer))
    return MouthShape(*curves, gap=upper_gap + lower_gap, jaw=JAW_TRAVEL * a.jaw_drop)


def draw_mouth(albedo: np.ndarray, canvas: Canvas, identity: Identity, action: Action, shape: MouthShape) -> None:
    """Draw the mouth onto the skin, before light."""
    reach = canvas.window(-0.75, identity.mouth_y - 0.42, 0.75, identity.mouth_y + 0.62)
    patch = reach.of(albedo)
    skin = np.array(identity.skin)
    red = identity.lip_redness
    lip = skin * (1 - np.array([0.30, 0.36, 0.12]) * (0.55 + 0.75 * red))
    outline = np.concatenate([shape.upper_outer, shape.lower_outer[::-1]])
    lips = reach.mask(outline, 0.012)
    colour = np.empty((*reach.shape, 3), np.uint8)
    colour[:] = np.clip(lip, 0, 255)
    upper_part = np.concatenate([shape.upper_outer, shape.upper_inner[::-1]])
    reach.fill(colour, upper_part, tuple(lip * (0.86, 0.86, 0.90)))
    colour = soften(colour, 0.025 * canvas.scale)
    paint(patch, colour, lips, 0.9)
    # The gleam of the lower lip, and the shadow under it.
    gleam = shape.lower_inner * 0.55 + shape.lower_outer * 0.45
    reach.line(patch, gleam[7:18], 0.035, np.minimum(lip * 1.22 + 14, 255), 0.55, 0.02)
    under = shape.lower_outer[5:20] + np.array([0, 0.035])
    reach.line(patch, under, 0.05, skin * 0.72, 0.5, 0.03)
    if shape.gap > 0.02:
        _draw_inside(patch, reach, identity, shape)
    seam = (shape.upper_inner + shape.lower_inner) / 2 if shape.gap < 0.03 else shape.upper_inner
    width = 0.006 + 0.026 * np.sqrt(np.maximum(1 - np.linspace(-1, 1, 25) ** 2, 0))
    reach.line(patch, seam, width, lip * 0.38, 0.8, 0.005)
    for corner in (shape.upper_inner[:4], shape.upper_inner[-4:]):
        reach.line(patch, corner, 0.04, skin * 0.5, 0.45, 0.012)


def _draw_inside(patch: np.ndarray, reach: Window, identity: Identity, shape: MouthShape) -> None:
    opening = np.concatenate([shape.upper_inner, shape.lower_inner[::-1]])
    inside = np.empty((*reach.shape, 3), np.uint8)
    inside[:] = (34, 26, 62)
    middle, wide = identity.mouth_y, 0.38
    if shape.jaw > 0.06:
        angle = np.linspace(0, 2 * np.pi, 24)
        tongue = np.stack([0.2 * np.cos(angle), middle + 0.8 * shape.jaw + 0.05 + 0.09 * np.sin(angle)], axis=1)
        reach.fill(inside, tongue, (86, 76, 150))
    arch = 0.025 * (np.linspace(-1, 1, 9) ** 2)
    row = np.linspace(-wide, wide, 9)
    top = middle - 0.015
    upper_teeth = np.stack([row, top + 0.07 - 1.6 * arch], axis=1)
    reach.fill(inside, np.concatenate([upper_teeth, [(wide, top - 0.3), (-wide, top - 0.3)]]), (206, 220, 228))
    bottom = middle + 0.062 + shape.jaw
    lower_teeth = np.stack([row * 0.9, bottom + arch], axis=1)
    reach.fill(inside, np.concatenate([lower_teeth, [(wide, bottom + 0.3), (-wide, bottom + 0.3)]]), (182, 198, 208))
    inside = soften(inside, 0.012 * reach.scale)
    gaps = np.zeros(reach.shape, np.uint8)
    for x in (-0.19, -0.1, 0.0, 0.1, 0.19):
        reach.fill(
            gaps,
            np.array(
                [(x - 0.004, top - 0.2), (x + 0.004, top - 0.2), (x + 0.004, top + 0.06), (x - 0.004, top + 0.06)]
            ),
            255,
        )
    paint(inside, (140, 150, 165), gaps, 0.5)
    mask = reach.mask(opening, 0.006)
    # The upper lip and the cheeks shade what is behind them.
    reach.line(inside, shape.upper_inner, 0.05, (30, 24, 50), 0.5, 0.02)
    for end in (shape.upper_inner[:7], shape.upper_inner[-7:]):
        reach.line(inside, end, 0.07, (30, 24, 50), 0.55, 0.03)
    paint(patch, inside, mask)


def _corner(identity: Identity, action: Action, side: int) -> tuple[float, float]:
    """Return a corner's distance from the midline and its y."""
    a, uneven = action, 1.0 + side * action.asymmetry
    out = 0.125 * a.lip_corner_up + 0.115 * a.lip_stretch - 0.02 * a.lip_corner_down
    out -= 0.14 * a.lip_pucker + 0.055 * a.jaw_drop + 0.02 * a.lip_press
    down = 0.125 * a.lip_corner_down - 0.165 * a.lip_corner_up + 0.015 * a.lip_stretch - 0.015 * a.chin_raise
    x = identity.mouth_width + out * uneven
    return x, identity.mouth_y - identity.mouth_curve + down * uneven + 0.055 * a.jaw_drop
