"""The skin at rest: its colour with blush and freckles, ears, neck, brows and beard, and the outline of the face."""

import numpy as np

from .canvas import Canvas, mirrored, paint, ribbon, smooth_curve, soften
from .identity import Identity


def face_outline(identity: Identity, num_points: int = 96) -> np.ndarray:
    """Return the outline of the bare head, clockwise from its top.  # (N, 2)"""
    w, jaw, chin = identity.width, identity.jaw, identity.chin
    right = [
        (0.0, -1.52),
        (0.52 * w, -1.42),
        (0.86 * w, -1.0),
        (0.97 * w, -0.45),
        (0.975 * w, 0.05),
        (0.955 * w, 0.42),
        (0.5 * jaw + 0.47 * w, 0.8),
        (jaw * 0.97, 1.1),
        (jaw * 0.68, chin - 0.16),
        (jaw * 0.34, chin - 0.028),
    ]
    left = [(-x, y) for x, y in right[:0:-1]]
    return smooth_curve(np.array([*right, (0.0, chin), *left]), num_points, closed=True)


def paint_neck(albedo: np.ndarray, cover: np.ndarray, canvas: Canvas, identity: Identity) -> None:
    """Paint neck and ears, which lie behind the face; the neck fades out below, onto the body's own."""
    whole = canvas.whole
    skin = np.array(identity.skin)
    width = 0.42 + 0.3 * (identity.jaw - 0.72)
    side = np.array([(width + 0.06, 0.9), (width, 1.5), (width + 0.02, 1.9), (width + 0.16, 2.4)])
    neck = np.concatenate([side, mirrored(side, -1)[::-1]])
    mask = whole.mask(neck)
    paint(albedo, skin * 0.80, mask)
    _, y = canvas.grid()
    shadow = np.clip(1.25 - (y - identity.chin) / 0.5, 0, 1) * 110
    paint(albedo, skin * 0.46, (mask * (shadow / 255)).astype(np.uint8), 1.0)
    for edge in (1, -1):
        paint(albedo, skin * 0.42, np.minimum(whole.stroke_mask(mirrored(side, edge), 0.1, 0.06), mask), 0.7)
    fade = np.clip((2.16 - y) / 0.34, 0, 1)
    np.maximum(cover, (mask * fade).astype(np.uint8), out=cover)
    for edge in (1, -1):
        ear = [(0.93, -0.16), (1.05, -0.2), (1.12, -0.06), (1.085, 0.2), (1.02, 0.42), (0.93, 0.4)]
        outline = mirrored(smooth_curve(np.array(ear) * (identity.width, 1), 30, closed=True), edge)
        ear_mask = whole.mask(outline)
        paint(albedo, skin * (0.80, 0.80, 0.88), ear_mask)
        rim = mirrored(smooth_curve(np.array([(1.0, -0.1), (1.06, -0.06), (1.04, 0.15), (0.99, 0.28)]), 12), edge)
        whole.line(albedo, rim * (identity.width, 1), 0.045, skin * 0.55, 0.7, 0.012)
        np.maximum(cover, ear_mask, out=cover)


def paint_face(albedo: np.ndarray, cover: np.ndarray, canvas: Canvas, identity: Identity) -> None:
    """Paint the skin of the face, with all that grows on it."""
    rng = np.random.default_rng(identity.seed)
    whole = canvas.whole
    skin = np.array(identity.skin)
    outline = face_outline(identity)
    face = whole.mask(outline)
    paint(albedo, skin, face)
    x, y = canvas.grid()

    def spot(cx: float, cy: float, sx: float, sy: float) -> np.ndarray:
        return (255 * np.exp(-(((np.abs(x) - cx) / sx) ** 2) - ((y - cy) / sy) ** 2)).astype(np.uint8)

    blush = skin * (0.84, 0.82, 1.02)
    for area, opacity in (
        (spot(0.56, 0.45, 0.27, 0.22), 0.55),
        (spot(0.0, identity.nose_length, 0.2, 0.13), 0.5),
        (spot(0.0, identity.chin - 0.15, 0.25, 0.12), 0.25),
    ):
        paint(albedo, blush, np.minimum(area, face), opacity)
    paint(albedo, skin * (0.80, 0.80, 0.87), np.minimum(spot(identity.eye_x, 0.03, 0.27, 0.17), face), 0.55)
    paint(albedo, np.minimum(skin * 1.05, 255), np.minimum(spot(0.0, -0.6, 0.5, 0.25), face), 0.6)
    mottle = rng.standard_normal((24, 18)).astype(np.float32)
    noise = soften(_enlarged(mottle, canvas.shape), 0.02 * canvas.scale)
    albedo *= 1 + 0.012 * noise[..., None]
    if identity.freckles > 0.05:
        for fx, fy in zip(rng.normal(0, 0.42, 90), rng.normal(0.33, 0.18, 90), strict=True):
            angle = np.linspace(0, 2 * np.pi, 9)
            dot = (fx, fy) + rng.uniform(0.008, 0.018) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
            whole.lay(albedo, dot, skin * (0.66, 0.72, 0.80), 0.5 * identity.freckles)
    for side in (-1, 1):
        under_eye = smooth_curve(
            np.array([(-0.19, 0.07), (0.0, 0.135), (0.19, 0.08)]) + np.array([identity.eye_x, 0.0]), 13
        )
        colour, opacity = skin * (0.80, 0.80, 0.86), 0.30 + 0.2 * identity.age
        whole.line(albedo, mirrored(under_eye, side), 0.05, colour, opacity, 0.025)
    _paint_nostrils(albedo, canvas, identity, skin)
    _paint_beard(albedo, canvas, identity, face, rng)
    for side in (-1, 1):
        _paint_brow(albedo, canvas, identity, side, rng)
    np.maximum(cover, face, out=cover)


def _paint_nostrils(albedo: np.ndarray, canvas: Canvas, identity: Identity, skin: np.ndarray) -> None:
    tip, wing = identity.nose_length, identity.nose_width
    for side in (-1, 1):
        near = canvas.window(-0.4, tip - 0.25, 0.4, tip + 0.25)
        hole = mirrored(
            smooth_curve(np.array([(0.05, tip + 0.085), (0.11, tip + 0.062), (wing * 0.72, tip + 0.078)]), 9), side
        )
        taper = 0.036 * (0.35 + 0.65 * np.sin(np.linspace(0.2, np.pi - 0.3, 9)))
        near.line(near.of(albedo), hole, taper, skin * 0.24, 0.85, 0.012)
        ala = [
            (wing * 0.82, tip - 0.075),
            (wing * 1.02, tip + 0.0),
            (wing * 0.98, tip + 0.07),
            (wing * 0.78, tip + 0.095),
        ]
        curve = mirrored(smooth_curve(np.array(ala), 12), side)
        near.line(near.of(albedo), curve, 0.03, skin * (0.58, 0.58, 0.66), 0.6, 0.014)
    under = np.array([(-0.08, tip + 0.1), (0.0, tip + 0.12), (0.08, tip + 0.1)])
    near = canvas.window(-0.4, tip - 0.25, 0.4, tip + 0.3)
    near.line(near.of(albedo), smooth_curve(under, 9), 0.04, skin * 0.66, 0.5, 0.02)


def _paint_brow(albedo: np.ndarray, canvas: Canvas, identity: Identity, side: int, rng: np.random.Generator) -> None:
    y, arch, tilt = identity.brow_y, identity.brow_arch, identity.brow_tilt
    controls = [
        (0.145, y + 0.035 + tilt),
        (0.30, y - 0.012 + 0.5 * tilt),
        (0.52, y - arch - 0.3 * tilt),
        (0.73, y + 0.03 - tilt),
    ]
    spine = smooth_curve(np.array(controls), 24)
    thickness = identity.brow_thickness * np.interp(np.linspace(0, 1, 24), [0, 0.15, 0.6, 1], [0.65, 1.0, 0.85, 0.15])
    colour = np.minimum(np.array(identity.hair_colour) * 0.72, 120)
    near = canvas.window(-0.95, y - 0.3, 0.95, y + 0.25)
    patch = near.of(albedo)
    near.line(patch, mirrored(spine, side), thickness, colour, 0.62, 0.016)
    strands = np.zeros(near.shape, np.uint8)
    for _ in range(70):
        at = rng.uniform(0, 0.97)
        index = int(at * 22)
        root = spine[index] + (0, rng.uniform(-0.4, 0.5) * thickness[index])
        # Hairs rise at the inner end and lie down towards the outer one.
        angle = -1.15 + 1.25 * min(at * 1.6, 1) + rng.normal(0, 0.16)
        length = rng.uniform(0.06, 0.10)
        tip = root + length * np.array([np.cos(angle), np.sin(angle)])
        near.fill(strands, ribbon(mirrored(np.array([root, tip]), side), np.array([0.014, 0.003])), 255)
    paint(patch, colour * 0.7, strands, 0.75)


def _paint_beard(
    albedo: np.ndarray, canvas: Canvas, identity: Identity, face: np.ndarray, rng: np.random.Generator
) -> None:
    if identity.beard == "none":
        return
    whole = canvas.whole
    mouth, wide, chin, jaw = identity.mouth_y, identity.mouth_width, identity.chin, identity.jaw
    moustache = [
        (0, mouth - 0.21),
        (0.2, mouth - 0.21),
        (wide + 0.06, mouth - 0.06),
        (wide + 0.06, mouth + 0.05),
        (0.2, mouth - 0.05),
        (0, mouth - 0.06),
    ]
    goatee = [
        (0, mouth + 0.2),
        (0.15, mouth + 0.19),
        (wide - 0.02, mouth + 0.12),
        (0.36, chin + 0.03),
        (0, chin + 0.08),
    ]
    full = [
        (0, mouth + 0.19),
        (0.2, mouth + 0.17),
        (wide + 0.08, mouth + 0.06),
        (wide + 0.12, mouth - 0.12),
        (0.66, mouth - 0.16),
        (0.88, 0.55),
        (1.0, 0.3),
        (0.97, 0.7),
        (jaw, 1.2),
        (0.4, chin + 0.05),
        (0, chin + 0.09),
    ]
    parts = {
        "moustache": [moustache],
        "goatee": [moustache, goatee],
        "full": [moustache, full],
        "stubble": [moustache, full],
    }
    region = np.zeros(canvas.shape, np.uint8)
    for part in parts[identity.beard]:
        outline = np.concatenate([np.array(part), mirrored(np.array(part), -1)[::-1]])
        whole.fill(region, outline, 255)
    region = np.minimum(soften(region, 0.03 * canvas.scale), face)
    hair = np.minimum(np.array(identity.hair_colour) * 0.85, 150)
    grain = np.clip(
        0.75 + 0.25 * soften(rng.standard_normal(canvas.shape).astype(np.float32), 0.012 * canvas.scale), 0, 1
    )
    if identity.beard == "stubble":
        paint(albedo, hair + 0.25 * np.array(identity.skin), (region * grain).astype(np.uint8), 0.34)
        return
    paint(albedo, hair, (region * grain).astype(np.uint8), 0.72)
    strands = np.zeros(canvas.shape, np.uint8)
    rows, columns = np.nonzero(region > 140)
    for pick in rng.integers(0, len(rows), 420):
        window = whole
        root = np.array([window.left + columns[pick] / canvas.scale, window.top + rows[pick] / canvas.scale])
        fall = np.array([0.25 * root[0] + rng.normal(0, 0.15), 1.0])
        whole.fill(strands, ribbon(np.array([root, root + 0.09 * fall]), np.array([0.013, 0.004])), 255)
    paint(albedo, hair * 0.62, np.minimum(strands, region), 0.6)


def _enlarged(small: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    import cv2

    return cv2.resize(small, (shape[1], shape[0]), interpolation=cv2.INTER_CUBIC)
