"""Hair and headwear: a dark ground with strands that follow the style's flow.

What hangs behind the neck is painted before the face and what grows over the forehead after it, both into the resting skin.
"""

import numpy as np

from .canvas import Canvas, mirrored, paint, ribbon, smooth_curve, soften
from .identity import Identity

_ALONG = np.linspace(0, 1, 9)  # a strand
LONG_STYLES = ("long", "bob", "curly")


def paint_back_hair(albedo: np.ndarray, cover: np.ndarray, canvas: Canvas, identity: Identity) -> None:
    """Paint the hair behind face and neck."""
    if identity.hair not in LONG_STYLES:
        return
    rng = np.random.default_rng((identity.seed, 1))
    end = {"long": 2.25, "bob": 1.42, "curly": 0.95}[identity.hair]
    flare = {"long": 1.16, "bob": 1.2, "curly": 1.36}[identity.hair]
    right = np.array(
        [(0.0, -1.68), (0.7, -1.52), (1.12, -0.95), (flare, 0.0), (flare + 0.02, end * 0.6), (flare - 0.1, end)]
    )
    if identity.hair == "curly":
        right = np.array([(0.0, -1.68), (0.75, -1.52), (1.2, -0.95), (1.36, -0.2), (1.26, 0.42), (0.92, 0.8)])
    outline = np.concatenate([smooth_curve(right, 30), mirrored(smooth_curve(right, 30), -1)[::-1]])
    mask = canvas.whole.mask(outline, 0.012)
    colour = np.array(identity.hair_colour)
    paint(albedo, colour * 0.55, mask)
    strands = []
    for _ in range(170):
        x = rng.uniform(-flare, flare)
        wave = 0.05 * np.sin(np.linspace(0, rng.uniform(3, 6), 8) + rng.uniform(0, 6))
        y = np.linspace(-0.9, end + rng.uniform(-0.1, 0.05), 8)
        strands.append(np.stack([x * (0.92 + 0.08 * np.linspace(0, 1, 8)) + wave * 0.7, y], axis=1))
    _paint_strands(albedo, mask, canvas, strands, colour, rng)
    np.maximum(cover, mask, out=cover)


def paint_front_hair(albedo: np.ndarray, cover: np.ndarray, canvas: Canvas, identity: Identity) -> None:
    """Paint the hair on top of the head, or what is worn there."""
    rng = np.random.default_rng((identity.seed, 2))
    if identity.hair == "bald":
        return
    if identity.hair == "beanie":
        _paint_beanie(albedo, cover, canvas, identity, rng)
        return
    height = {
        "buzz": 0.03,
        "short": 0.16,
        "side": 0.2,
        "swept": 0.26,
        "curly": 0.3,
        "bob": 0.2,
        "long": 0.18,
        "bun": 0.1,
    }
    lift = height.get(identity.hair, 0.1)
    line = _hairline(identity)
    crown = _crown(identity, lift)
    if identity.hair == "bun":
        angle = np.linspace(0, 2 * np.pi, 28)
        knot = np.stack([0.34 * np.cos(angle), -1.68 + 0.22 * np.sin(angle)], axis=1)
        knot_mask = canvas.whole.mask(knot, 0.01)
        paint(albedo, np.array(identity.hair_colour) * 0.62, knot_mask)
        arcs = [
            np.stack([r * 0.34 * np.cos(angle[2:26]), -1.68 + r * 0.22 * np.sin(angle[2:26])], axis=1)
            for r in (0.35, 0.55, 0.75, 0.9)
        ]
        _paint_strands(albedo, knot_mask, canvas, arcs, np.array(identity.hair_colour), rng)
        np.maximum(cover, knot_mask, out=cover)
    outline = np.concatenate([line, crown[::-1]])
    mask = canvas.whole.mask(outline, 0.022 if identity.hair != "buzz" else 0.05)
    colour = np.array(identity.hair_colour)
    if identity.hair == "buzz":
        grain = np.clip(0.7 + 0.3 * soften(rng.standard_normal(canvas.shape), 0.01 * canvas.scale), 0, 1)
        paint(albedo, colour * 0.8, (mask * grain).astype(np.uint8), 0.72)
        np.maximum(cover, mask, out=cover)
        return
    paint(albedo, colour * 0.60, mask)
    _paint_strands(albedo, mask, canvas, _flow(identity, line, crown, rng), colour, rng)
    # A band of light across the top gives the hair its roundness.
    gleam = _crown(identity, lift * 0.45)[22:50] * (0.86, 0.88)
    sheen = np.minimum(canvas.whole.stroke_mask(gleam, 0.13, 0.07), mask)
    paint(albedo, np.minimum(colour * 1.45 + 22, 255), sheen, 0.28)
    np.maximum(cover, mask, out=cover)
    # Hair shades the forehead under it.
    skin_below = soften(mask, 0.06 * canvas.scale)
    shadow = np.where(mask < 90, skin_below, 0).astype(np.uint8)
    paint(albedo, np.array(identity.skin) * 0.55, np.minimum(shadow, cover), 0.5)


def _hairline(identity: Identity) -> np.ndarray:
    """Return the lower edge of the hair from the image's left sideburn over the forehead to the right one.  # (72, 2)"""
    y, w = identity.hairline, identity.width
    burn = {"bob": 0.9, "long": 1.0, "curly": 0.3, "bun": -0.1}.get(identity.hair, 0.16)
    inset = 0.86 if burn < 0.5 else 0.88
    if identity.hair in ("side", "swept", "bob"):
        top = [(-0.62, y + 0.12), (-0.3, y - 0.08), (0.05, y - 0.02), (0.42, y + 0.10), (0.70, y + 0.28)]
    elif identity.hair == "receding":
        top = [(-0.66, y - 0.02), (-0.42, y - 0.34), (0.0, y - 0.16), (0.42, y - 0.34), (0.66, y - 0.02)]
    elif identity.hair == "long":
        top = [(-0.68, y + 0.3), (-0.36, y + 0.02), (0.0, y - 0.16), (0.36, y + 0.02), (0.68, y + 0.3)]
    else:
        top = [(-0.68, y + 0.2), (-0.4, y + 0.02), (0.0, y), (0.4, y + 0.02), (0.68, y + 0.2)]
    left = [(-1.0 * w, burn), (-(inset + 0.04) * w, burn - 0.03), (-inset * w, -0.3)]
    right = [(inset * w, -0.3), ((inset + 0.04) * w, burn - 0.03), (1.0 * w, burn)]
    line = smooth_curve(np.array([*left, *top, *right]), 72)
    if np.random.default_rng((identity.seed, 3)).random() < 0.5:  # the parting may be on either side
        line = mirrored(line, -1)[::-1]
    return line


def _crown(identity: Identity, lift: float) -> np.ndarray:
    """Return the outer edge of the hair, from the image's left to its right.  # (72, 2)"""
    w = identity.width
    side = {"curly": 0.2, "bob": 0.16, "long": 0.13}.get(identity.hair, 0.05)
    burn = {"bob": 0.95, "long": 1.1, "curly": 0.35, "bun": -0.1}.get(identity.hair, 0.16)
    right = [
        (0.0, -1.52 - lift),
        (0.55 * w, -1.40 - 0.9 * lift),
        (0.90 * w + 0.5 * side, -0.98 - 0.4 * lift),
        (0.99 * w + side, -0.42),
        (0.985 * w + side, min(burn, 0.1)),
        (0.99 * w + side * 0.9, burn),
    ]
    left = [(-x, y) for x, y in right[:0:-1]]
    return smooth_curve(np.array([*left, *right]), 72)


def _flow(identity: Identity, line: np.ndarray, crown: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return strands of the style, each from root to tip."""
    strands = []
    if identity.hair == "curly":
        for _ in range(260):
            at = rng.integers(0, 72)
            centre = line[at] + (crown[at] - line[at]) * rng.uniform(0.0, 1.0) + rng.normal(0, 0.03, 2)
            start, radius = rng.uniform(0, 6.28), rng.uniform(0.04, 0.09)
            angle = start + np.linspace(0, rng.uniform(2.5, 4.5), 8)
            strands.append(centre + radius * np.stack([np.cos(angle), np.sin(angle)], axis=1))
        return strands
    lean = {"side": 10, "swept": 12, "bob": 4, "long": 0, "bun": -6, "short": 3}.get(identity.hair, 0)
    for _ in range(330):
        root_at = rng.uniform(0, 71)
        toward = root_at + lean + rng.normal(0, 2.0)
        if identity.hair in ("long", "bun", "bob"):  # combed towards the middle of the crown
            toward = 35.5 + (root_at - 35.5) * (0.62 if identity.hair != "bun" else 0.3) + rng.normal(0, 1.5)
        root = line[round(root_at)]
        tip = crown[int(np.clip(round(toward), 0, 71))]
        bend = (root + tip) / 2 + rng.normal(0, 0.02, 2) + 0.10 * (tip - root)[::-1] * (1, -1) * np.sign(root[0])
        t = (rng.uniform(0, 0.35) + _ALONG * rng.uniform(0.5, 0.65))[:, None]
        strands.append((1 - t) ** 2 * root + 2 * (1 - t) * t * bend + t * t * tip)
    return strands


def _paint_strands(
    albedo: np.ndarray,
    mask: np.ndarray,
    canvas: Canvas,
    strands: list[np.ndarray],
    colour: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Lay strands in several tones, the dark ones first."""
    layer, whole = np.clip(albedo, 0, 255).astype(np.uint8), canvas.whole
    tones = np.sort(rng.uniform(0.62, 1.35, len(strands)))
    shades = np.clip(tones[:, None] * colour + 6 * (tones[:, None] - 0.8), 0, 255).tolist()
    tapers = {count: 0.026 * np.sin(np.linspace(0.4, np.pi - 0.15, count)) for count in {len(s) for s in strands}}
    for strand, shade in zip(strands, shades, strict=True):
        whole.fill(layer, ribbon(strand, tapers[len(strand)]), tuple(shade))
    paint(albedo, layer, mask, 0.75)


def _paint_beanie(
    albedo: np.ndarray, cover: np.ndarray, canvas: Canvas, identity: Identity, rng: np.random.Generator
) -> None:
    colour = rng.uniform(50, 190, 3)
    y = identity.hairline + 0.22
    edge = smooth_curve(
        np.array([(-1.04, y + 0.22), (-0.6, y + 0.02), (0.0, y - 0.05), (0.6, y + 0.02), (1.04, y + 0.22)]), 40
    )
    top = smooth_curve(
        np.array(
            [
                (-1.04, y + 0.22),
                (-1.02, y - 0.35),
                (-0.72, -1.45),
                (0.0, -1.74),
                (0.72, -1.45),
                (1.02, y - 0.35),
                (1.04, y + 0.22),
            ]
        ),
        40,
    )
    mask = canvas.whole.mask(np.concatenate([edge, top[::-1]]))
    paint(albedo, colour, mask)
    for at in range(1, 39, 2):
        rib = smooth_curve(np.array([edge[at], (edge[at] + top[at]) / 2 * (1.06, 1), top[at]]), 10)
        paint(albedo, colour * 0.72, np.minimum(canvas.whole.stroke_mask(rib, 0.028, 0.012), mask), 0.6)
    band = np.concatenate([edge, (edge - (0, 0.24))[::-1]])
    paint(albedo, np.minimum(colour * 1.12 + 6, 255), np.minimum(canvas.whole.mask(band, 0.01), mask), 0.7)
    for at in range(40):
        rib = np.array([edge[at], edge[at] - (0, 0.23)])
        paint(albedo, colour * 0.75, np.minimum(canvas.whole.stroke_mask(rib, 0.02, 0.006), mask), 0.5)
    np.maximum(cover, mask, out=cover)
    below = canvas.whole.stroke_mask(edge + np.array([0, 0.04]), 0.08, 0.04)
    paint(albedo, np.array(identity.skin) * 0.5, np.where(mask < 60, below, 0).astype(np.uint8), 0.5)
