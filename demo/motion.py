"""How action moves the skin: a displacement field per action unit and side, summed.

The fields live on a coarse grid, since skin moves smoothly. What is drawn on the skin (brows, beard, cheeks, the outline of the
jaw) follows by one resampling; points of the truth follow through the same field.
"""

from typing import Any

import cv2
import numpy as np

from .action import Action
from .canvas import BOTTOM, LEFT, RIGHT, TOP, Canvas
from .identity import Identity

STEP = 0.1  # face units between grid nodes
COLUMNS, ROWS = round((RIGHT - LEFT) / STEP), round((BOTTOM - TOP) / STEP)
JAW_TRAVEL = 0.25
_NO_MAP: Any = None  # x and y come in one map, which the stubs of OpenCV do not know


class SkinMotion:
    """The displacement fields of one face."""

    def __init__(self, identity: Identity) -> None:
        x = LEFT + STEP * (np.arange(COLUMNS) + 0.5)[None, :]
        y = TOP + STEP * (np.arange(ROWS) + 0.5)[:, None]
        self._terms: list[tuple[str, int]] = []
        fields = []
        for unit, blobs in _blobs(identity).items():
            for side in (-1, 1):
                field = np.zeros((ROWS, COLUMNS, 2))
                for cx, cy, sx, sy, dx, dy in blobs:
                    weight = np.exp(-(((x - side * cx) / sx) ** 2) - ((y - cy) / sy) ** 2)
                    field += weight[..., None] * (side * dx, dy)
                self._terms.append((unit, side))
                fields.append(field)
        self._terms.append(("jaw_drop", 0))
        fields.append(_jaw_field(identity, x, y))
        self._fields = np.stack(fields).reshape(len(fields), -1).astype(np.float32)

    def field(self, action: Action) -> np.ndarray:
        """Return the displacement at each grid node, where the skin arrives.  # (ROWS, COLUMNS, 2)"""
        amounts = np.array(
            [getattr(action, unit) * (1.0 + side * action.asymmetry) for unit, side in self._terms], dtype=np.float32
        )
        return (amounts @ self._fields).reshape(ROWS, COLUMNS, 2)


def carry(points: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Return where points of the resting face arrive.  # (N, 2) → (N, 2)

    The field is known where skin arrives, so each place is the fixed point of `place = point + field(place)`.
    """
    points = np.asarray(points, dtype=float)
    places = points.copy()
    for _ in range(4):
        at = ((places - (LEFT, TOP)) / STEP - 0.5).astype(np.float32)
        moved = cv2.remap(field, at[None, :, 0], at[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        places = points + moved
    return places


class SkinWarp:
    """Resamples canvases through a displacement field."""

    def __init__(self, canvas: Canvas) -> None:
        height, width = canvas.shape
        self._scale = canvas.scale
        still = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        self._still = np.stack(still, axis=-1)

    def __call__(self, field: np.ndarray, *images: np.ndarray) -> list[np.ndarray]:
        """Return the images of the resting face as the field moves them."""
        height, width, _ = self._still.shape
        # A node lies amid its cell, which is where an enlargement puts a pixel's value.
        moved = cv2.resize(field * np.float32(-self._scale), (width, height), interpolation=cv2.INTER_LINEAR)
        cv2.add(moved, self._still, moved)
        mode = cv2.BORDER_REPLICATE
        return [cv2.remap(image, moved, _NO_MAP, cv2.INTER_LINEAR, borderMode=mode) for image in images]


def _blobs(identity: Identity) -> dict[str, list[tuple[float, float, float, float, float, float]]]:
    """List, per unit, where the skin of the image's right moves (x, y, sx, sy) and whither (dx, dy)."""
    brow, mouth, wide, nose = identity.brow_y, identity.mouth_y, identity.mouth_width, identity.nose_length
    wing, chin = identity.nose_width, identity.chin
    return {
        "inner_brow_raise": [(0.2, brow - 0.05, 0.22, 0.22, 0.0, -0.15), (0.2, brow - 0.35, 0.3, 0.2, 0.0, -0.04)],
        "outer_brow_raise": [(0.58, brow - 0.06, 0.24, 0.22, 0.01, -0.155), (0.5, brow - 0.35, 0.3, 0.2, 0.0, -0.04)],
        "brow_lower": [(0.2, brow + 0.05, 0.22, 0.18, -0.06, 0.14), (0.58, brow + 0.04, 0.2, 0.16, -0.03, 0.05)],
        "lid_raise": [(0.43, brow, 0.3, 0.14, 0.0, -0.012)],
        "cheek_raise": [(0.52, 0.35, 0.26, 0.2, 0.0, -0.07)],
        "nose_wrinkle": [
            (wing * 0.8, nose, 0.15, 0.14, 0.015, -0.065),
            (0.2, brow + 0.05, 0.2, 0.16, -0.03, 0.075),
            (0.0, nose - 0.02, 0.12, 0.12, 0.0, -0.02),
        ],
        "upper_lip_raise": [(0.25, nose + 0.2, 0.22, 0.15, 0.01, -0.06), (wing, nose, 0.12, 0.12, 0.02, -0.03)],
        "lip_corner_up": [
            (wide + 0.06, mouth - 0.1, 0.22, 0.2, 0.08, -0.08),
            (0.54, 0.45, 0.26, 0.22, 0.03, -0.05),
            (wing, nose, 0.12, 0.12, 0.025, -0.01),
        ],
        "lip_corner_down": [(wide + 0.04, mouth + 0.08, 0.2, 0.17, 0.0, 0.09)],
        "chin_raise": [(0.08, chin - 0.2, 0.25, 0.14, 0.0, -0.035)],
        "lip_stretch": [(wide + 0.06, mouth, 0.22, 0.22, 0.10, 0.02)],
        "lip_pucker": [(wide, mouth, 0.2, 0.22, -0.09, 0.0)],
    }


def _jaw_field(identity: Identity, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the field of an open jaw: the chin travels whole, the cheeks stretch, the neck gives way."""
    mouth, chin = identity.mouth_y, identity.chin
    below_lips = np.clip((y - (mouth + 0.02)) / (chin - mouth - 0.22), 0, 1)
    opening = below_lips * below_lips * (3 - 2 * below_lips)
    neck = np.clip((chin + 0.72 - y) / 0.5, 0, 1)
    inside = np.exp(-(np.maximum(np.abs(x) / 0.82, 0) ** 6))
    field = np.zeros((ROWS, COLUMNS, 2))
    field[..., 1] = JAW_TRAVEL * opening * neck * neck * (3 - 2 * neck) * inside
    # Cheeks are drawn in a little as they stretch.
    field[..., 0] = -0.035 * np.sign(x) * np.exp(-(((np.abs(x) - 0.72) / 0.25) ** 2) - ((y - 0.95) / 0.35) ** 2)
    return field
