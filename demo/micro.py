"""Micro-expressions: onset, apex and offset within 0.2 to 0.5 s at a high frame rate, faint, on a face that is otherwise kept still.

Three classes, as MEGC 2019 has them: negative is one of several expressions, positive is happiness, and surprise. A clip shows a little of
the resting face before the onset and after the offset; both, and the apex, are known. People belong to rendered databases in turn, so that
scores by database can be tried out. Length, strength and course are drawn without looking at the class.
"""

import numpy as np

# Class → the expressions that it may show, one of them in each clip.
CLASSES = {"negative": ("disgust", "anger", "sadness"), "positive": ("happiness",), "surprise": ("surprise",)}
DATABASES = ("rendered-a", "rendered-b", "rendered-c")
SECONDS = (0.2, 0.5)  # from onset to offset
REST = (0.03, 0.1)  # seconds of the resting face before the onset, and after the offset
MIN_FPS, MAX_FPS, FPS = 100, 200, 100
STRENGTH = (0.45, 0.2)  # of an expression's peak at difficulty 0 and 1; posed ones have 1.0 and 0.46
STILL = 0.2  # of the stir and the motion of other clips
STREAM = 60  # of a clip's seed


def draw_course(num_frames: int, onset: int, apex: int, offset: int, seed: int) -> np.ndarray:
    """Draw the intensity over time: 0 up to the onset, 1 at the apex, 0 from the offset on; rise and fall are smooth.  # (T,)"""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(STREAM,)))
    bend = rng.uniform(0.8, 1.25, 2)  # early or late within the rise, and within the fall
    frames = np.arange(num_frames)
    rise = np.clip((frames - onset) / (apex - onset), 0, 1) ** bend[0]
    fall = np.clip((offset - frames) / (offset - apex), 0, 1) ** bend[1]
    height = np.minimum(rise, fall)
    return height * height * (3 - 2 * height)


def draw_moments(fps: int, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Draw how many frames a clip has, and its onset, apex and offset."""
    lasts = max(round(rng.uniform(*SECONDS) * fps), 4)
    before, after = (max(round(rng.uniform(*REST) * fps), 1) for _ in range(2))
    apex = before + int(np.clip(round(rng.uniform(0.3, 0.6) * lasts), 1, lasts - 1))
    return before + lasts + after + 1, before, apex, before + lasts
