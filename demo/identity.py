"""Who is shown: the lasting parameters of a face.

Lengths are in face units: one unit is half the width of an average face, y points down, and the origin lies between the eyes.
Identities are drawn from a seed alone; nothing of an identity tells its expression, though a face at rest may look stern.
"""

from dataclasses import dataclass

import numpy as np

BEARDS = ("none", "stubble", "moustache", "goatee", "full")
GLASSES = ("none", "round", "square", "thin")

# Base tones in BGR, from light to dark.
_SKIN_TONES = np.array(
    [[196, 212, 240], [172, 196, 232], [150, 180, 222], [124, 158, 206], [98, 132, 186], [76, 106, 160], [62, 84, 128], [52, 70, 106]],
    dtype=float,
)  # fmt: skip
_HAIR_COLOURS = np.array(
    [[24, 24, 30], [30, 36, 48], [36, 52, 78], [44, 72, 112], [78, 128, 176], [122, 172, 212], [40, 64, 132], [150, 152, 156]],
    dtype=float,
)  # fmt: skip
_IRIS_COLOURS = np.array(
    [[26, 44, 74], [34, 66, 104], [52, 96, 112], [88, 112, 84], [146, 122, 86], [160, 140, 110]], dtype=float
)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A face at rest; colours are BGR, from 0 to 255."""

    seed: int = 0  # of strands, freckles and other texture
    skin: tuple[float, float, float] = (150.0, 180.0, 222.0)
    hair_colour: tuple[float, float, float] = (36.0, 52.0, 78.0)
    iris: tuple[float, float, float] = (34.0, 66.0, 104.0)
    hair: str = "short"
    beard: str = "none"
    glasses: str = "none"
    lip_redness: float = 0.5
    freckles: float = 0.0
    age: float = 0.3  # 0 smooth … 1 lined
    width: float = 1.0  # of the face
    jaw: float = 0.76  # half width at the jaw
    chin: float = 1.55  # y of the chin
    hairline: float = -1.0
    eye_x: float = 0.435
    eye_width: float = 0.24  # half, canthus to canthus
    eye_height: float = 0.175
    eye_tilt: float = 0.02
    lid: float = 0.5  # 0 no crease … 1 deep
    brow_y: float = -0.31
    brow_thickness: float = 0.075
    brow_arch: float = 0.05
    brow_tilt: float = 0.0
    nose_length: float = 0.585
    nose_width: float = 0.235
    nose_height: float = 0.27
    mouth_y: float = 0.97
    mouth_width: float = 0.37
    upper_lip: float = 0.09
    lower_lip: float = 0.125
    mouth_curve: float = 0.0  # of the resting mouth, positive upwards
    clothing: tuple[float, float, float] = (120.0, 90.0, 70.0)
    collar: str = "round"


def draw_identity(rng: np.random.Generator) -> Identity:
    """Draw a person."""

    def near(mean: float, deviation: float) -> float:
        return mean + deviation * float(np.clip(rng.standard_normal(), -2.0, 2.0))

    tone = float(rng.uniform(0, len(_SKIN_TONES) - 1))
    skin = _between(_SKIN_TONES, tone) * rng.uniform(0.97, 1.03, 3)
    dark = tone / (len(_SKIN_TONES) - 1)
    # Fair hair and light eyes are rarer on dark skin, as in life; grey comes with age.
    age = float(rng.beta(1.6, 2.4))
    hair_index = 7 if rng.random() < 0.7 * max(age - 0.45, 0.0) else int(rng.integers(0, 2 if dark > 0.6 else 7))
    iris_index = int(rng.integers(0, 2 if dark > 0.55 else len(_IRIS_COLOURS)))
    masculine = rng.random() < 0.5
    styles = ("buzz", "short", "side", "swept", "curly", "receding", "bald", "beanie", "short", "side")
    if not masculine:
        styles = ("bob", "long", "bun", "swept", "curly", "long", "bob", "bun", "side", "beanie")
    beard = str(rng.choice(BEARDS, p=(0.4, 0.24, 0.1, 0.1, 0.16))) if masculine else "none"
    hue = rng.uniform(0, 1, 3)
    clothing = 40 + 170 * (0.35 * hue + 0.65 * hue.mean())
    return Identity(
        seed=int(rng.integers(2**31)),
        skin=_colour(skin),
        hair_colour=_colour(_HAIR_COLOURS[hair_index] * rng.uniform(0.85, 1.15)),
        iris=_colour(_IRIS_COLOURS[iris_index] * rng.uniform(0.9, 1.15)),
        hair=str(rng.choice(styles)),
        beard=beard,
        glasses=str(rng.choice(GLASSES, p=(0.76, 0.08, 0.08, 0.08))),
        lip_redness=float(rng.uniform(0.2, 0.6) if masculine else rng.uniform(0.35, 1.0)),
        freckles=float(max(rng.uniform(-2.0, 1.0), 0.0)) * (1 - dark),
        age=age,
        width=near(1.0, 0.035),
        jaw=near(0.80 if masculine else 0.72, 0.035),
        chin=near(1.57 if masculine else 1.51, 0.04),
        hairline=near(-0.98, 0.05),
        eye_x=near(0.435, 0.016),
        eye_width=near(0.24, 0.011),
        eye_height=near(0.175, 0.013),
        eye_tilt=near(0.018, 0.014),
        lid=float(rng.uniform(0.15, 1.0)),
        brow_y=near(-0.305, 0.02) - (0.0 if masculine else 0.015),
        brow_thickness=near(0.076 if masculine else 0.056, 0.01),
        brow_arch=near(0.035 if masculine else 0.055, 0.015),
        brow_tilt=near(0.0, 0.018),
        nose_length=near(0.585, 0.03),
        nose_width=near(0.235, 0.022),
        nose_height=near(0.27, 0.03),
        mouth_y=near(0.97, 0.022),
        mouth_width=near(0.375, 0.022),
        upper_lip=near(0.088, 0.014),
        lower_lip=near(0.128, 0.016),
        mouth_curve=near(0.0, 0.012),
        clothing=_colour(clothing),
        collar=str(rng.choice(("round", "vee", "shirt"))),
    )


def subject_identity(identity_seed: tuple[int, int]) -> Identity:
    """Return the person who is a given subject of a given set."""
    seed, subject = identity_seed
    return draw_identity(np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(subject, 0))))


def _between(table: np.ndarray, position: float) -> np.ndarray:
    low = min(int(position), len(table) - 2)
    return table[low] + (position - low) * (table[low + 1] - table[low])


def _colour(values: np.ndarray) -> tuple[float, float, float]:
    blue, green, red = np.clip(values, 0, 255).round(1).tolist()
    return blue, green, red
