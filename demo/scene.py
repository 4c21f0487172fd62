"""What surrounds the head: background, shoulders, occluders, and the camera's own marks.

The background with the shoulders is drawn once per clip. Whatever a frame adds (a hand, a change of light, noise, a lossy
picture format) is applied to a copy of it.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import cv2
import numpy as np

from .canvas import SHIFT, smooth_curve
from .identity import Identity
from .pose import Pose, shorter_side
from .relief import Light

BACKGROUNDS = ("gradient", "blobs", "wall", "shelf", "window")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The surroundings of a clip."""

    seed: int = 0
    background: str = "gradient"
    light: Light = field(default_factory=Light)
    noise: float = 1.5  # standard deviation in grey levels
    blur: float = 0.0  # standard deviation as a part of the frame's shorter side
    jpeg: int | None = None  # quality, if the camera compresses its pictures


def draw_scene(rng: np.random.Generator, difficulty: float) -> Scene:
    """Draw surroundings: the harder, the harsher the light and the worse the camera."""
    harsh = 0.35 + 0.65 * difficulty
    light = Light(
        azimuth=float(rng.uniform(-1, 1) * (0.5 + 0.7 * difficulty)),
        elevation=float(rng.uniform(0.15, 0.75)),
        ambient=float(0.56 - rng.uniform(0.0, 0.28) * harsh),
        warmth=float(rng.uniform(-1, 1) * harsh),
        gain=float(1 + rng.uniform(-0.28, 0.10) * harsh),
    )
    return Scene(
        seed=int(rng.integers(2**31)),
        background=str(rng.choice(BACKGROUNDS)),
        light=light,
        noise=float(rng.uniform(0.5, 1.5) + rng.uniform(0, 7) * difficulty**1.5),
        blur=float(max(rng.uniform(-1, 1), 0) * 0.0032 * difficulty),
        jpeg=int(rng.uniform(92 - 55 * difficulty, 96 - 20 * difficulty))
        if rng.random() < 0.12 + 0.45 * difficulty
        else None,
    )


def draw_backdrop(scene: Scene, identity: Identity, pose: Pose, size: tuple[int, int]) -> np.ndarray:
    """Draw the background, and the shoulders under a head of this mean pose.  # → (H, W, 3) uint8"""
    rng = np.random.default_rng(scene.seed)
    frame = _background(scene.background, rng, size)
    frame *= scene.light.gain * (1 + scene.light.warmth * np.array([-0.08, 0.0, 0.06], dtype=np.float32))
    frame = np.clip(frame, 0, 255).astype(np.uint8)
    _draw_body(frame, scene, identity, pose, size)
    return frame


def _background(kind: str, rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    # A blurred background has no detail: it is drawn at 160 columns and enlarged.
    width, height = 160, max(round(160 * size[1] / size[0]), 16)
    base = rng.uniform(60, 205) + rng.uniform(-32, 32, 3)
    other = np.clip(base + rng.uniform(-60, 60) + rng.uniform(-25, 25, 3), 15, 240)
    angle = rng.uniform(0, 2 * np.pi)
    x, y = np.linspace(-1, 1, width)[None, :], np.linspace(-1, 1, height)[:, None]
    ramp = np.clip(0.5 + 0.4 * (x * np.cos(angle) + y * np.sin(angle)), 0, 1)[..., None]
    frame = (base * (1 - ramp) + other * ramp).astype(np.float32)

    def shade(amount: float) -> tuple[float, float, float]:
        blue, green, red = np.clip(base + rng.uniform(-amount, amount) + rng.uniform(-22, 22, 3), 10, 245).tolist()
        return blue, green, red

    if kind == "blobs":
        for _ in range(14):
            centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
            cv2.circle(frame, centre, int(rng.uniform(5, 26)), shade(75), cv2.FILLED, cv2.LINE_AA)
        frame = cv2.GaussianBlur(frame, (0, 0), 3.5)
    elif kind == "shelf":
        at = 0
        while at < width:
            step = int(rng.uniform(4, 14))
            for row in range(0, height, max(height // 3, 1)):
                top = row + int(rng.uniform(2, 9))
                cv2.rectangle(frame, (at, top), (at + step - 1, row + height // 3 - 4), shade(80), cv2.FILLED)
            at += step
        frame = cv2.GaussianBlur(frame, (0, 0), 1.6)
    elif kind == "window":
        left, wide = int(rng.uniform(-0.1, 0.75) * width), int(rng.uniform(0.25, 0.45) * width)
        top = int(rng.uniform(0.02, 0.25) * height)
        pane = tuple(np.clip(base + rng.uniform(60, 110), 0, 250).tolist())
        cv2.rectangle(frame, (left, top), (left + wide, top + int(0.65 * height)), pane, cv2.FILLED)
        for bar in (0.0, 0.5, 1.0):
            column = int(left + bar * wide)
            cv2.line(frame, (column, top), (column, top + int(0.65 * height)), shade(30), 3)
        frame = cv2.GaussianBlur(frame, (0, 0), 2.2)
    frame = cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC)
    if kind == "wall":
        grain = rng.standard_normal((size[1] // 2, size[0] // 2)).astype(np.float32)
        grain = cv2.GaussianBlur(grain, (0, 0), 2.0) * 14
        frame += cv2.resize(grain, size, interpolation=cv2.INTER_LINEAR)[..., None]
    return frame


def _draw_body(frame: np.ndarray, scene: Scene, identity: Identity, pose: Pose, size: tuple[int, int]) -> None:
    unit = pose.scale * shorter_side(size)
    origin = np.array([pose.x * size[0], pose.y * size[1]])
    top = min(max(int(origin[1] + 1.6 * unit), 0), size[1] - 2)  # nothing is drawn above the shoulders
    frame, origin = frame[top:], origin - (0, top)
    light = scene.light
    tint = light.gain * (1 + light.warmth * np.array([-0.10, 0.0, 0.08]))
    cloth = np.array(identity.clothing) * tint
    skin = np.array(identity.skin) * 0.80 * tint

    def fill(image: np.ndarray, points: np.ndarray, colour: np.ndarray) -> None:
        fixed = np.round((points * unit + origin) * (1 << SHIFT)).astype(np.int32)
        cv2.fillPoly(image, [fixed], tuple(np.clip(colour, 0, 255).tolist()), cv2.LINE_AA, SHIFT)

    def both(right: list[tuple[float, float]], num_points: int = 24) -> np.ndarray:
        curve = smooth_curve(np.array(right), num_points)
        return np.concatenate([curve, (curve * (-1, 1))[::-1]])

    neck = 0.48 + 0.3 * (identity.jaw - 0.72)
    shoulders = both([(neck, 1.72), (neck + 0.18, 1.96), (1.15, 2.2), (1.85, 2.5), (2.15, 3.3), (2.25, 5.0)])
    bottom = 5.0
    body = np.zeros(frame.shape[:2], np.uint8)
    fill(body, shoulders, np.array([255.0]))
    layer = frame.copy()
    layer[body > 0] = np.clip(cloth, 0, 255)
    # Folds and the roundness of the shoulders: a soft side-lit ramp, drawn as blurred strokes.
    ramp = np.clip(1 + 0.28 * np.sin(light.azimuth) * (np.arange(size[0]) - origin[0]) / (1.9 * unit), 0.55, 1.25)
    layer = np.clip(layer * ramp[None, :, None], 0, 255).astype(np.uint8)
    folds = np.zeros(frame.shape[:2], np.uint8)
    for side in (-1, 1):
        for x in (0.75, 1.2, 1.55):
            fold = np.array([(side * x, 2.45 + 0.3 * x), (side * (x - 0.1), bottom), (side * (x - 0.18), bottom)])
            fill(folds, fold, np.array([255.0]))
    folds = cv2.GaussianBlur(folds, (0, 0), 0.09 * unit)
    layer = (layer * (1 - folds[..., None] * np.float32(0.22 / 255))).astype(np.uint8)
    throat = {"round": 2.26, "vee": 2.75, "shirt": 2.5}[identity.collar]
    opening = both([(neck + 0.1, 1.8), (neck + 0.08, 2.02), (0.3, throat - 0.1), (0.06, throat)])
    fill(layer, opening, skin * (0.92, 0.92, 0.94))
    if identity.collar == "shirt":
        for side in (-1, 1):
            flap = np.array([(side * (neck + 0.16), 1.86), (side * 0.07, throat + 0.02), (side * 0.5, throat + 0.22)])
            fill(layer, flap, cloth * 1.18 + 10)
    else:
        hem = smooth_curve(
            np.array([(neck + 0.1, 1.9), (neck + 0.08, 2.04), (0.3, throat - 0.08), (0.0, throat + 0.015)]), 20
        )
        hem = np.concatenate([hem, (hem * (-1, 1))[::-1]])
        band = np.concatenate([hem, (hem + np.array([0, 0.07]))[::-1]])
        fill(layer, band, cloth * 0.8)
    weight = cv2.GaussianBlur(body, (0, 0), 0.7).astype(np.float32)[..., None] / 255
    frame[...] = (frame * (1 - weight) + layer * weight).astype(np.uint8)


def expose(frame: np.ndarray, scene: Scene, gain: float, noise_seed: int) -> np.ndarray:
    """Return the frame as the camera delivers it."""
    if abs(gain - 1) > 0.004:
        frame = cv2.convertScaleAbs(frame, alpha=gain)
    sigma = scene.blur * shorter_side((frame.shape[1], frame.shape[0]))
    if sigma > 0.3:
        frame = cv2.GaussianBlur(frame, (0, 0), sigma)
    if scene.noise > 0:
        brighter, darker = _grain(frame.shape[0], frame.shape[1], round(2 * scene.noise))
        y, x = noise_seed % 61, noise_seed // 61 % 67
        area = slice(y, y + frame.shape[0]), slice(x, x + frame.shape[1])
        frame = cv2.subtract(cv2.add(frame, brighter[area]), darker[area])
    if scene.jpeg is not None:
        _, coded = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, scene.jpeg])
        frame = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR))
    return frame


@lru_cache(maxsize=4)
def _grain(height: int, width: int, half_levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Return what noise adds and what it takes, on a tile that frames look into at different places."""
    rng = np.random.default_rng(half_levels)
    noise = rng.standard_normal((height + 61, width + 67, 3), dtype=np.float32) * np.float32(half_levels / 2)
    rounded = np.round(noise)
    return np.clip(rounded, 0, 255).astype(np.uint8), np.clip(-rounded, 0, 255).astype(np.uint8)
