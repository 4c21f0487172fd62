"""The head: skin, eyes, mouth, hair and glasses, lit and in action, on a canvas of its own.

The resting skin is painted once. A frame resamples it through the motion of the skin, draws eyes and mouth on it, and
multiplies with the light: the resting shading and what each action unit adds to it.
"""

import cv2
import numpy as np

from .action import Action
from .canvas import BOTTOM, LEFT, RIGHT, TOP, Canvas, Window, mirrored, paint, ribbon, smooth_curve
from .eyes import draw_eye, eye_shape
from .hair import paint_back_hair, paint_front_hair
from .identity import Identity
from .motion import SkinMotion, SkinWarp, carry
from .mouth import draw_mouth, mouth_shape
from .relief import Light, base_height, creases, shade
from .skin import face_outline, paint_face, paint_neck

# Light in the shadows of skin has been under it: they keep more red than blue. Contrast of blue, green and red.
_SHADOW_TINT = np.array([1.14, 1.03, 0.86])
LEVEL_STEPS = 145.0  # of light in a byte: up to 1.75 times full light


class Head:
    """One person under one light, ready to be drawn in any action."""

    def __init__(self, identity: Identity, light: Light, scale: float) -> None:
        self.identity = identity
        self.canvas = Canvas(scale)
        self.height = base_height(identity, self.canvas)
        albedo = np.empty((*self.canvas.shape, 3), np.float32)
        # What lies outside the head is never opaque, but its colour bleeds into the edge when it is resampled.
        albedo[:] = np.array(identity.hair_colour) * 0.6 if identity.hair != "bald" else np.array(identity.skin) * 0.8
        cover = np.zeros(self.canvas.shape, np.uint8)
        paint_back_hair(albedo, cover, self.canvas, identity)
        paint_neck(albedo, cover, self.canvas, identity)
        paint_face(albedo, cover, self.canvas, identity)
        paint_front_hair(albedo, cover, self.canvas, identity)
        self._resting = cv2.merge([*cv2.split(np.clip(albedo, 0, 255).astype(np.uint8)), cover])
        self.extent = _extent(self.canvas, cover)
        self._motion = SkinMotion(identity)
        self._warp = SkinWarp(self.canvas)
        self._shading = shade(self.height, light, scale)
        self._creases = creases(identity, self.canvas, self.height, light)
        self._colouring = _colouring(light)
        self._glasses = _draw_glasses(identity, self.canvas)
        outline = face_outline(identity)
        self._outline = outline[outline[:, 1] > -0.1]
        self._nose_tip = (0.0, identity.nose_length - 0.05)

    def draw(self, action: Action) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Draw the head.

        Returns colour (H, W, 3) and coverage (H, W) in uint8, and in face units the landmarks (5, 2), left to right as in
        the image, and the outline (N, 2) of what a detector calls the face.
        """
        identity, canvas = self.identity, self.canvas
        field = self._motion.field(action)
        skin, level = self._warp(field, self._resting, self._shading)
        colour, cover = cv2.cvtColor(skin, cv2.COLOR_BGRA2BGR), cv2.extractChannel(skin, 3)
        eyes = [eye_shape(identity, action, side) for side in (-1, 1)]
        for eye in eyes:
            draw_eye(colour, canvas, identity, action, eye)
        mouth = mouth_shape(identity, action)
        draw_mouth(colour, canvas, identity, action, mouth)
        for crease in self._creases:
            amount = getattr(action, crease.unit) * (1 + crease.side * action.asymmetry)
            if amount > 0.01:
                part = level[crease.rows, crease.columns]
                cv2.scaleAdd(crease.shade, amount, part, part)
        steps = cv2.convertScaleAbs(level, alpha=LEVEL_STEPS)
        light = cv2.LUT(cv2.cvtColor(steps, cv2.COLOR_GRAY2BGR), self._colouring)
        lit = cv2.multiply(colour, light, scale=1 / LEVEL_STEPS)
        if self._glasses is not None:
            window, frame, mask = self._glasses
            paint(window.of(lit), frame, mask)
        carried = carry(np.array([self._nose_tip, *self._outline]), field)
        landmarks = np.array([eyes[0].centre, eyes[1].centre, carried[0], *mouth.corners])
        return lit, cover, landmarks, np.concatenate([carried[1:] * (CHEEKS, 1.0), [(0.0, FOREHEAD)]])


def _extent(canvas: Canvas, cover: np.ndarray) -> tuple[float, float, float, float]:
    """Return the rectangle of face units that is covered, with some room for the skin to move."""
    rows, columns = np.flatnonzero(cover.any(1)) / canvas.scale, np.flatnonzero(cover.any(0)) / canvas.scale
    room = 0.06
    left, right = LEFT + columns[0] - room, LEFT + columns[-1] + room
    return max(left, LEFT), max(TOP + rows[0] - room, TOP), min(right, RIGHT), min(TOP + rows[-1] + room, BOTTOM)


def _colouring(light: Light) -> np.ndarray:
    """Tabulate a level of light, in steps, as the light of each colour, in the same steps.  # (1, 256, 3) uint8"""
    level = np.arange(256)[:, None] / LEVEL_STEPS
    tint = light.gain * (1 + light.warmth * np.array([-0.10, 0.0, 0.08]))
    return np.clip(LEVEL_STEPS * tint * (1 + _SHADOW_TINT * (level - 1)), 0, 255).round().astype(np.uint8)[None]


# Where the packaged detector's boxes lie on the rendered face, measured: they begin under the hair, and stay inside the cheeks.
FOREHEAD = -1.11
CHEEKS = 0.945  # of the outline's width


def _draw_glasses(identity: Identity, canvas: Canvas) -> tuple[Window, np.ndarray, np.ndarray] | None:
    if identity.glasses == "none":
        return None
    window = canvas.window(-1.12, -0.42, 1.12, 0.42)
    mask = np.zeros(window.shape, np.uint8)
    frame = np.empty((*window.shape, 3), np.float32)
    frame[:] = (34, 30, 30) if identity.glasses != "thin" else (96, 110, 124)
    thickness = 0.05 if identity.glasses != "thin" else 0.026
    power = 2.0 if identity.glasses == "round" else 3.6
    angle = np.linspace(0, 2 * np.pi, 49)
    wide, high = (0.31, 0.29) if identity.glasses == "round" else (0.335, 0.245)
    for side in (-1, 1):
        cosine, sine = np.cos(angle), np.sin(angle)
        rim = np.stack(
            [
                side * identity.eye_x + wide * np.sign(cosine) * np.abs(cosine) ** (2 / power),
                0.03 + high * np.sign(sine) * np.abs(sine) ** (2 / power),
            ],
            axis=1,
        )
        window.fill(mask, ribbon(rim, thickness), 255)
        arm = mirrored(np.array([(identity.eye_x + wide, -0.04), (1.0 * identity.width, -0.09)]), side)
        window.fill(mask, ribbon(arm, thickness), 255)
    gap = identity.eye_x - wide
    bridge = smooth_curve(np.array([(-gap - 0.01, -0.02), (0.0, -0.075), (gap + 0.01, -0.02)]), 9)
    window.fill(mask, ribbon(bridge, thickness), 255)
    return window, frame, mask
