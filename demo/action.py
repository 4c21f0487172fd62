"""Facial action in FACS terms, and the seven expressions as combinations of action units.

An `Action` is what a face does in one frame. The combinations follow the EMFACS literature, with its alternatives: fear and
surprise share raised brows and lids, anger and disgust a lowered brow and narrowed eyes, and these are the close pairs.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields

import numpy as np

from ..errors import UsageError

EXPRESSIONS = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


@dataclass(frozen=True, kw_only=True)
class Action:
    """Action units, 0 at rest and 1 at full contraction; gaze and asymmetry from -1 to 1."""

    inner_brow_raise: float = 0.0  # AU1
    outer_brow_raise: float = 0.0  # AU2
    brow_lower: float = 0.0  # AU4
    lid_raise: float = 0.0  # AU5
    cheek_raise: float = 0.0  # AU6
    lid_tighten: float = 0.0  # AU7
    nose_wrinkle: float = 0.0  # AU9
    upper_lip_raise: float = 0.0  # AU10
    lip_corner_up: float = 0.0  # AU12
    lip_corner_down: float = 0.0  # AU15
    lower_lip_down: float = 0.0  # AU16
    chin_raise: float = 0.0  # AU17
    lip_pucker: float = 0.0  # AU18
    lip_stretch: float = 0.0  # AU20
    lip_press: float = 0.0  # AU24
    lips_part: float = 0.0  # AU25
    jaw_drop: float = 0.0  # AU26
    blink: float = 0.0  # AU45
    gaze_x: float = 0.0
    gaze_y: float = 0.0
    asymmetry: float = 0.0  # positive: stronger on the image's right

    def __post_init__(self) -> None:
        for name in ACTION_FIELDS:
            value = getattr(self, name)
            low = -1.0 if name in SIGNED_FIELDS else 0.0
            if not low <= value <= 1.5:
                raise UsageError(f"{name}: expected a number from {low:g} to 1.5, found {value}")

    @classmethod
    def from_values(cls, values: Iterable[float]) -> "Action":
        """Build from numbers in the order of `ACTION_FIELDS`, clipped to what a face can do."""
        clipped = np.clip(np.asarray(list(values), dtype=float), _LOW, 1.5).tolist()
        return cls(**dict(zip(ACTION_FIELDS, clipped, strict=True)))


SIGNED_FIELDS = ("gaze_x", "gaze_y", "asymmetry")
ACTION_FIELDS = tuple(field.name for field in fields(Action))
_LOW = np.array([-1.0 if name in SIGNED_FIELDS else 0.0 for name in ACTION_FIELDS])

# Alternatives of each expression; a subject leans to one of them.
PROTOTYPES: dict[str, tuple[dict[str, float], ...]] = {
    "anger": (
        {"brow_lower": 1.0, "lid_raise": 0.65, "lid_tighten": 0.7, "lip_press": 1.0, "chin_raise": 0.25},
        {
            "brow_lower": 1.0,
            "lid_raise": 0.55,
            "lid_tighten": 0.8,
            "lip_press": 0.9,
            "lip_corner_down": 0.15,
            "chin_raise": 0.45,
        },
        {
            "brow_lower": 1.0,
            "lid_raise": 0.7,
            "lid_tighten": 0.7,
            "lips_part": 0.5,
            "lower_lip_down": 0.6,
            "lip_stretch": 0.25,
        },
    ),
    "disgust": (
        {
            "nose_wrinkle": 1.0,
            "upper_lip_raise": 0.8,
            "brow_lower": 0.4,
            "lid_tighten": 0.6,
            "cheek_raise": 0.3,
            "chin_raise": 0.3,
        },
        {
            "nose_wrinkle": 0.9,
            "upper_lip_raise": 1.0,
            "lips_part": 0.4,
            "lower_lip_down": 0.3,
            "lid_tighten": 0.5,
            "brow_lower": 0.3,
        },
        {
            "nose_wrinkle": 0.9,
            "upper_lip_raise": 0.7,
            "lip_corner_down": 0.5,
            "chin_raise": 0.6,
            "lid_tighten": 0.6,
            "brow_lower": 0.4,
        },
    ),
    "fear": (
        {
            "inner_brow_raise": 1.0,
            "outer_brow_raise": 0.45,
            "brow_lower": 0.55,
            "lid_raise": 1.0,
            "lip_stretch": 1.0,
            "lips_part": 0.5,
        },
        {
            "inner_brow_raise": 0.9,
            "outer_brow_raise": 0.5,
            "brow_lower": 0.5,
            "lid_raise": 0.9,
            "lid_tighten": 0.3,
            "lip_stretch": 0.9,
            "lips_part": 0.6,
            "jaw_drop": 0.3,
            "lower_lip_down": 0.4,
        },
    ),
    "happiness": (
        {"cheek_raise": 0.9, "lip_corner_up": 1.0, "lips_part": 0.55, "upper_lip_raise": 0.15},
        {"cheek_raise": 0.8, "lip_corner_up": 0.9},
        {"cheek_raise": 1.0, "lip_corner_up": 1.0, "lips_part": 0.6, "jaw_drop": 0.35, "lid_tighten": 0.2},
    ),
    "neutral": ({},),
    "sadness": (
        {
            "inner_brow_raise": 1.0,
            "brow_lower": 0.55,
            "lip_corner_down": 0.9,
            "chin_raise": 0.4,
            "gaze_y": 0.4,
            "blink": 0.18,
        },
        {
            "inner_brow_raise": 0.9,
            "brow_lower": 0.4,
            "lip_corner_down": 1.0,
            "chin_raise": 0.8,
            "gaze_y": 0.2,
            "blink": 0.12,
        },
        {
            "inner_brow_raise": 1.0,
            "brow_lower": 0.5,
            "lip_corner_down": 0.9,
            "lips_part": 0.15,
            "gaze_y": 0.6,
            "blink": 0.28,
        },
    ),
    "surprise": (
        {"inner_brow_raise": 1.0, "outer_brow_raise": 1.0, "lid_raise": 0.85, "lips_part": 0.4, "jaw_drop": 1.0},
        {
            "inner_brow_raise": 0.95,
            "outer_brow_raise": 1.0,
            "lid_raise": 0.7,
            "lips_part": 0.5,
            "jaw_drop": 0.7,
            "lip_pucker": 0.25,
        },
    ),
}


def draw_expression(label: str, leaning: int, rng: np.random.Generator, spread: float) -> np.ndarray:
    """Draw one performance of an expression, at full intensity.  # (A,)

    `leaning` is the subject's habitual alternative, taken in two of three clips; `spread` is the relative deviation of each
    unit from it.
    """
    alternatives = PROTOTYPES[label]
    chosen = leaning if rng.random() < 2 / 3 else int(rng.integers(2**16))
    prototype = alternatives[chosen % len(alternatives)]
    factors = np.exp(spread * rng.standard_normal(len(ACTION_FIELDS)))
    values = np.array([prototype.get(name, 0.0) for name in ACTION_FIELDS]) * factors
    return np.clip(values, _LOW, 1.25)
