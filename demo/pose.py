"""Where the head is in the frame: turn, tilt and place, for pixels and for the truth alike.

A turned head is the frontal canvas with its points shifted by their depth. `PoseWarp.forward` carries points exactly; the pixels
follow its inverse, solved on a coarse grid by fixed-point iteration. Depth slopes are kept mild, so that up to half a
radian no part of the face folds over another.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from ..errors import UsageError
from .canvas import BOTTOM, LEFT, RIGHT, TOP, Canvas
from .identity import Identity

_NO_MAP: Any = None  # x and y come in one map, which the stubs of OpenCV do not know
MAX_TURN = 0.5  # radians, of yaw and pitch
NODES_PER_UNIT = 11  # of the inverse map: fine enough to follow the nose within a third of a pixel


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Angles in radians; place and scale as parts of the frame, so that they mean the same at any size."""

    yaw: float = 0.0  # positive: towards the image's right
    pitch: float = 0.0  # positive: down
    roll: float = 0.0  # positive: clockwise
    x: float = 0.5  # of the point between the eyes, by the frame's width
    y: float = 0.45  # by its height
    scale: float = 0.2  # face units by the frame's shorter side

    def __post_init__(self) -> None:
        if not (abs(self.yaw) <= MAX_TURN and abs(self.pitch) <= MAX_TURN):
            raise UsageError(f"pose: expected yaw and pitch within ±{MAX_TURN} radians, found {self.yaw}, {self.pitch}")
        if not 0 < self.scale <= 1:
            raise UsageError(f"pose: expected a scale above 0 and at most 1, found {self.scale}")


def shorter_side(size: tuple[int, int]) -> float:
    """Return the length that scales refer to: a tall frame has no bigger heads than a square one."""
    return min(size[1], 0.75 * size[0])


class PoseWarp:
    """One pose of one head in frames of one size."""

    def __init__(self, pose: Pose, identity: Identity, size: tuple[int, int]) -> None:
        self._tip, self._lift = identity.nose_length, identity.nose_height
        self._origin = np.array([pose.x * size[0], pose.y * size[1]])
        self._unit = pose.scale * shorter_side(size)
        self._size = size
        cosine, sine = np.cos(pose.roll), np.sin(pose.roll)
        self._roll = np.array([[cosine, -sine], [sine, cosine]])
        self._yaw, self._pitch = pose.yaw, pose.pitch

    def forward(self, points: np.ndarray) -> np.ndarray:
        """Carry points from face units to frame pixels.  # (N, 2) → (N, 2)"""
        x, y = np.asarray(points, dtype=float).T
        z = self._depth(x, y)
        turned = x * np.cos(self._yaw) + z * np.sin(self._yaw)
        tilted = y * np.cos(self._pitch) + z * np.sin(self._pitch)
        return np.stack([turned, tilted], axis=1) @ self._roll.T * self._unit + self._origin

    def backward(self, places: np.ndarray) -> np.ndarray:
        """Carry frame pixels to face units.  # (N, 2) → (N, 2)"""
        turned, tilted = ((np.asarray(places, dtype=float) - self._origin) / self._unit @ self._roll).T
        x, y = turned, tilted
        for _ in range(6):
            z = self._depth(x, y)
            x = (turned - z * np.sin(self._yaw)) / np.cos(self._yaw)
            y = (tilted - z * np.sin(self._pitch)) / np.cos(self._pitch)
        return np.stack([x, y], axis=1)

    def paste(
        self,
        frame: np.ndarray,
        canvas: Canvas,
        colour: np.ndarray,
        cover: np.ndarray,
        extent: tuple[float, float, float, float] = (LEFT, TOP, RIGHT, BOTTOM),
    ) -> None:
        """Lay the head over the frame, in place; outside the extent it covers nothing."""
        left, top, right, bottom = extent
        border = np.array([(x, y) for x in (left, 0, right) for y in (top, 0, bottom)], dtype=float)
        reach = self.forward(border)
        x0, y0 = np.maximum(np.floor(reach.min(0)).astype(int), 0).tolist()
        x1, y1 = np.minimum(np.ceil(reach.max(0)).astype(int) + 1, self._size).tolist()
        if x1 <= x0 or y1 <= y0:
            return
        step = max(round(self._unit / NODES_PER_UNIT), 3)
        # One more node on each side: enlargement puts a node amid its cell and goes flat outside the outermost ones.
        columns, rows = -(-(x1 - x0) // step) + 2, -(-(y1 - y0) // step) + 2
        across, down = (step * (np.arange(count) - 0.5) - 0.5 for count in (columns, rows))
        nodes = np.stack(np.meshgrid(x0 + across, y0 + down), axis=-1)
        source = (self.backward(nodes.reshape(-1, 2)) - (LEFT, TOP)) * canvas.scale
        coarse = source.reshape(rows, columns, 2).astype(np.float32)
        enlarged = cv2.resize(coarse, (columns * step, rows * step), interpolation=cv2.INTER_LINEAR)
        dense = enlarged[step : step + y1 - y0, step : step + x1 - x0]
        over = cv2.remap(colour, dense, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        weight = cv2.remap(cover, dense, _NO_MAP, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
        under = frame[y0:y1, x0:x1]
        opaque = weight.astype(np.float32) * np.float32(1 / 255)
        cv2.blendLinear(over, np.ascontiguousarray(under), opaque, 1 - opaque, under)

    def _depth(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Return the depth of points: an egg with a nose, towards the camera."""
        egg = np.maximum(1 - (x / 1.45) ** 2 - ((y - 0.2) / 2.1) ** 2, 0)
        nose = np.exp(-((x / 0.22) ** 2) - ((y - self._tip + 0.05) / 0.3) ** 2)
        return 0.75 * egg - 0.45 + 0.75 * self._lift * nose
