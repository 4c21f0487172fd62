"""Classes that only the course of a clip tells apart: three pairs of expression dynamics, as the literature describes them.

- A smile, posed or spontaneous: a fast onset, an apex that sags, an abrupt offset; or a slow onset, one or two apexes, a slow offset.
- Surprise that turns into happiness, or into fear. The other of the two precedes the surprise, and fades into it likewise.
- A smile that masks anger, or disgust. Both appear for a fraction of a second: the masked one before the smile, the other one after
  it, and brief sadness in any place between.

Both classes of a pair show the same expressions, equally strong and for equally long: the strengths of a smile are one list of
numbers, put in two orders, and the other pairs are drawn once and run in two directions. Neither a single frame nor statistics over
frames differ between the two in distribution; what remains to be told is which pair a clip belongs to.
"""

from collections.abc import Callable

import numpy as np

# Label → the expressions that its clips show; two labels with the same expressions are a pair.
DYNAMICS = {
    "smile-posed": ("happiness",),
    "smile-spontaneous": ("happiness",),
    "surprise-to-happiness": ("fear", "surprise", "happiness"),
    "surprise-to-fear": ("fear", "surprise", "happiness"),
    "masked-anger": ("anger", "happiness", "disgust", "sadness"),
    "masked-disgust": ("anger", "happiness", "disgust", "sadness"),
}
SECONDS = (2.4, 3.2)  # shortest and longest clip
EDGE = 0.13  # of a clip's length, on each side, in which little happens: EST's test view shows what lies between
STREAM = 50  # of a clip's seed


def draw_envelopes(label: str, num_frames: int, fps: int, seed: int) -> np.ndarray:
    """Draw the intensity of each of a label's expressions over time.  # (E, T)"""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAM,)))
    return COURSES[label](num_frames, fps, rng)


def _posed(num_frames: int, fps: int, rng: np.random.Generator) -> np.ndarray:
    """Order a smile's strengths: at once there, sagging in the middle, at once gone."""
    begin, end, strengths = _smile(num_frames, rng)
    along = _along(begin, end, num_frames)
    sag = np.cos(2 * np.pi * along ** rng.uniform(0.8, 1.25))
    ramp = rng.uniform(0.12, 0.22) * fps
    frames = np.arange(num_frames)
    edges = np.clip(np.minimum(frames - begin + 1, end - frames) / ramp, 0, 1)
    return _ordered(strengths, (2 + sag) * edges, begin, end)


def _spontaneous(num_frames: int, fps: int, rng: np.random.Generator) -> np.ndarray:
    """Order a smile's strengths: slowly up to one apex or two, slowly down."""
    begin, end, strengths = _smile(num_frames, rng)
    along = _along(begin, end, num_frames)
    skew = rng.uniform(0.75, 1.3)  # a slower onset, or a slower offset
    dip = rng.choice([0.0, 0.3])
    rise = np.sin(np.pi * along**skew)
    return _ordered(strengths, rise - dip * np.exp(-(((along**skew - 0.5) / 0.12) ** 2)), begin, end)


def _smile(num_frames: int, rng: np.random.Generator) -> tuple[int, int, np.ndarray]:
    """Draw where a smile begins and ends, and its strengths from weak to full, alike for both kinds."""
    length = round(rng.uniform(0.56, 0.7) * num_frames)
    begin = round(rng.uniform(EDGE, 1 - EDGE - length / num_frames) * num_frames)
    ramps = round(rng.uniform(0.5, 0.65) * length)
    strengths = np.ones(length)
    strengths[:ramps] = np.linspace(0, 1, ramps + 2)[1:-1]
    return begin, begin + length, strengths


def _along(begin: int, end: int, num_frames: int) -> np.ndarray:
    """Return how far a span is over at each frame, from 0 to 1."""
    return np.clip((np.arange(num_frames) - begin) / max(end - 1 - begin, 1), 0, 1)


def _ordered(strengths: np.ndarray, template: np.ndarray, begin: int, end: int) -> np.ndarray:
    """Give each frame of a span the strength that has the rank of its template.  # (1, T)"""
    course = np.zeros(len(template))
    course[begin + np.argsort(template[begin:end], kind="stable")] = strengths
    return course[None]


def _turning(num_frames: int, fps: int, rng: np.random.Generator) -> np.ndarray:
    """Draw fear that becomes surprise that becomes happiness."""
    shares = rng.uniform(0.75, 1.25, 3)
    begin, end = EDGE * rng.uniform(0.6, 1.3), 1 - EDGE * rng.uniform(0.6, 1.3)
    edges = (begin + (end - begin) * np.concatenate([[0], np.cumsum(shares)]) / shares.sum()) * num_frames
    fades = rng.uniform(0.14, 0.3, 4) * fps
    rises = [_rise(num_frames, edge, fade) for edge, fade in zip(edges, fades, strict=True)]
    bouts = np.stack([rises[at] * (1 - rises[at + 1]) for at in range(3)])
    return rng.uniform(0.85, 1.0, (3, 1)) * bouts


def _masking(num_frames: int, fps: int, rng: np.random.Generator) -> np.ndarray:
    """Draw brief anger, a smile, brief disgust, and brief sadness in one of the places before, between and after."""
    order = [0, 1, 2]
    order.insert(int(rng.integers(4)), 3)
    lasts = rng.uniform(0.24, 0.4, 4) * fps
    lasts[1] = rng.uniform(0.5, 0.8) * fps
    gaps = rng.uniform(0.02, 0.12, 3) * fps
    free = num_frames - lasts.sum() - gaps.sum()
    at = free * rng.uniform(0.35, 0.65)
    strengths = rng.uniform(0.85, 1.0, 4)
    bouts = np.zeros((4, num_frames))
    for number, gap in zip(order, [*gaps, 0.0], strict=True):
        fade = min(0.3 * lasts[number], 0.2 * fps)
        bouts[number] = strengths[number] * (
            _rise(num_frames, at, fade) * (1 - _rise(num_frames, at + lasts[number], fade))
        )
        at += lasts[number] + gap
    return bouts


def _rise(num_frames: int, at: float, width: float) -> np.ndarray:
    """Return a smooth step from 0 to 1 around a frame.  # (T,)"""
    x = np.clip((np.arange(num_frames) + 0.5 - at) / max(width, 1.0) + 0.5, 0, 1)
    return x * x * (3 - 2 * x)


def _backwards(course: Callable[[int, int, np.random.Generator], np.ndarray]):
    """Return a course that runs the other way."""
    return lambda num_frames, fps, rng: course(num_frames, fps, rng)[:, ::-1]


COURSES: dict[str, Callable[[int, int, np.random.Generator], np.ndarray]] = {
    "smile-posed": _posed,
    "smile-spontaneous": _spontaneous,
    "surprise-to-happiness": _turning,
    "surprise-to-fear": _backwards(_turning),
    "masked-anger": _masking,
    "masked-disgust": _backwards(_masking),
}
