"""The canvas of the head: a pixel grid over face units, and the strokes drawn on it.

OpenCV draws polygons with fixed-point coordinates and anti-aliased edges but lines only at whole thicknesses, so every line
is a ribbon: a polygon with a width at each of its points, which may taper.
"""

from dataclasses import dataclass

import cv2
import numpy as np

SHIFT = 4  # fixed-point bits of a coordinate

# The part of the plane that the canvas shows, in face units: hair above, neck and long hair below.
LEFT, TOP, RIGHT, BOTTOM = -1.45, -1.95, 1.45, 2.35


@dataclass(frozen=True)
class Canvas:
    """A pixel grid at `scale` pixels per face unit."""

    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return round((BOTTOM - TOP) * self.scale), round((RIGHT - LEFT) * self.scale)

    def grid(self) -> tuple[np.ndarray, np.ndarray]:
        """Return x (1, W) and y (H, 1) of the pixel centres in face units."""
        height, width = self.shape
        x = LEFT + np.arange(width, dtype=np.float32)[None, :] / self.scale
        y = TOP + np.arange(height, dtype=np.float32)[:, None] / self.scale
        return x, y

    def window(self, left: float, top: float, right: float, bottom: float) -> "Window":
        """Return the rectangle of pixels that covers these units."""
        height, width = self.shape
        x0, x1 = (int(np.clip((at - LEFT) * self.scale + extra, 0, width)) for at, extra in ((left, 0), (right, 2)))
        y0, y1 = (int(np.clip((at - TOP) * self.scale + extra, 0, height)) for at, extra in ((top, 0), (bottom, 2)))
        rows, columns = slice(y0, y1), slice(x0, x1)
        return Window(rows, columns, LEFT + columns.start / self.scale, TOP + rows.start / self.scale, self.scale)

    @property
    def whole(self) -> "Window":
        height, width = self.shape
        return Window(slice(0, height), slice(0, width), LEFT, TOP, self.scale)


@dataclass(frozen=True)
class Window:
    """A rectangle of a canvas, with the place of its first pixel in face units."""

    rows: slice
    columns: slice
    left: float
    top: float
    scale: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def of(self, image: np.ndarray) -> np.ndarray:
        """Return the view of a canvas-sized image that this window covers."""
        return image[self.rows, self.columns]

    def fixed(self, points: np.ndarray) -> np.ndarray:
        """Convert points in face units to fixed-point pixels.  # (N, 2) → (N, 2) int32"""
        pixels = (np.asarray(points) - (self.left, self.top)) * (self.scale * (1 << SHIFT))
        return np.round(pixels).astype(np.int32)

    def fill(self, image: np.ndarray, points: np.ndarray, colour: tuple[float, ...] | float) -> None:
        """Fill a polygon, opaque with an anti-aliased edge."""
        cv2.fillPoly(image, [self.fixed(points)], _scalar(colour), cv2.LINE_AA, SHIFT)

    def disc(self, image: np.ndarray, centre: tuple[float, float], radius: float, colour: tuple[float, ...]) -> None:
        x, y = self.fixed(np.array([centre]))[0].tolist()
        radius_fixed = max(round(radius * self.scale * (1 << SHIFT)), 1)
        cv2.circle(image, (x, y), radius_fixed, _scalar(colour), cv2.FILLED, cv2.LINE_AA, SHIFT)

    def lay(
        self,
        image: np.ndarray,
        points: np.ndarray,
        colour: tuple[float, ...] | np.ndarray,
        opacity: float = 1.0,
        blur: float = 0.0,
    ) -> None:
        """Lay a colour over a soft-edged polygon of this window's image, touching no more pixels than it covers."""
        fixed = self.fixed(points)
        margin = int(3 * blur * self.scale) + 2
        x0, y0 = np.maximum((fixed.min(0) >> SHIFT) - margin, 0).tolist()
        x1, y1 = np.minimum((fixed.max(0) >> SHIFT) + margin + 1, self.shape[::-1]).tolist()
        if x1 <= x0 or y1 <= y0:
            return
        coverage = np.zeros((y1 - y0, x1 - x0), np.uint8)
        cv2.fillPoly(coverage, [fixed - np.array([x0 << SHIFT, y0 << SHIFT], np.int32)], (255.0,), cv2.LINE_AA, SHIFT)
        paint(image[y0:y1, x0:x1], colour, soften(coverage, blur * self.scale), opacity)

    def line(
        self,
        image: np.ndarray,
        points: np.ndarray,
        width: float | np.ndarray,
        colour: tuple[float, ...] | np.ndarray,
        opacity: float = 1.0,
        blur: float = 0.0,
    ) -> None:
        """Lay a colour along a ribbon of this window's image."""
        self.lay(image, ribbon(points, width), colour, opacity, blur)

    def mask(self, points: np.ndarray, blur: float = 0.0) -> np.ndarray:
        """Return the coverage of a polygon, blurred by `blur` face units.  # (h, w) uint8"""
        coverage = np.zeros(self.shape, np.uint8)
        self.fill(coverage, points, 255)
        return soften(coverage, blur * self.scale)

    def stroke_mask(self, points: np.ndarray, width: float | np.ndarray, blur: float = 0.0) -> np.ndarray:
        """Return the coverage of a ribbon.  # (h, w) uint8"""
        return self.mask(ribbon(points, width), blur)


def ribbon(points: np.ndarray, width: float | np.ndarray) -> np.ndarray:
    """Return the polygon around a line that is `width` wide at each point.  # (N, 2) → (2N, 2)"""
    points = np.asarray(points, dtype=float)
    along = np.empty_like(points)
    along[1:-1] = points[2:] - points[:-2]
    along[0], along[-1] = points[1] - points[0], points[-1] - points[-2]
    length = np.sqrt((along * along).sum(1, keepdims=True)) + 1e-9
    across = along[:, ::-1] * (-1.0, 1.0) / length * (np.reshape(width, (-1, 1)) / 2)
    return np.concatenate([points + across, (points - across)[::-1]])


def smooth_curve(controls: np.ndarray, num_points: int, closed: bool = False) -> np.ndarray:
    """Return points on the Catmull-Rom spline through the controls.  # (K, 2) → (num_points, 2)"""
    controls = np.asarray(controls, dtype=float)
    count = len(controls)
    position = np.linspace(0, count if closed else count - 1, num_points, endpoint=not closed)
    index = np.minimum(position.astype(int), count - 1 if closed else count - 2)
    t = (position - index)[:, None]
    around = [index + offset for offset in (-1, 0, 1, 2)]
    a, b, c, d = (controls[i % count] if closed else controls[np.clip(i, 0, count - 1)] for i in around)
    return 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)


def soften(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur by sigma pixels; below a third of a pixel there is nothing to see."""
    return cv2.GaussianBlur(image, (0, 0), sigma) if sigma > 0.33 else image


def paint(image: np.ndarray, colour: tuple[float, ...] | np.ndarray, mask: np.ndarray, opacity: float = 1.0) -> None:
    """Lay a colour, or an image, over an image in place, where the mask is.  # mask (h, w) uint8"""
    weight = mask.astype(np.float32)[..., None] * np.float32(opacity / 255)
    over = np.asarray(colour, dtype=np.float32)
    if image.dtype == np.uint8:
        image[...] = (image + (over - image) * weight + 0.5).astype(np.uint8)
    else:
        image += (over - image) * weight


def mirrored(points: np.ndarray, side: int) -> np.ndarray:
    """Return points drawn for the image's right on the given side, 1 right and -1 left."""
    return np.asarray(points) * (side, 1)


def _scalar(colour: tuple[float, ...] | float) -> tuple[float, ...]:
    return (
        tuple(float(value) for value in colour) if isinstance(colour, tuple | list | np.ndarray) else (float(colour),)
    )
