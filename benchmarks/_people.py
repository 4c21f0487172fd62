"""Shots of rendered people: one person in one place, with a course of expression, pose and light of its own."""

from __future__ import annotations

import numpy as np

from est.demo.action import EXPRESSIONS
from est.demo.clip import Clip
from est.demo.spec import ClipPlan


def shot(
    rng: np.random.Generator,
    seed: int,
    person: int,
    num_frames: int,
    size: tuple[int, int],
    difficulty: float | None = None,
) -> Clip:
    """Draw a shot of the person of that number of a seed: scene, light, camera and expression are new in each.

    A difficulty that is not told is drawn, from 0.2 to 0.9.
    """
    label = str(rng.choice(EXPRESSIONS))
    return Clip(
        ClipPlan(
            path="shot.mp4",
            label=label,
            subject=f"s{person:03d}",
            split="",
            apex=int(rng.integers(num_frames)),
            seed=int(rng.integers(2**31)),
            num_frames=num_frames,
            fps=25,
            size=size,
            difficulty=float(rng.uniform(0.2, 0.9)) if difficulty is None else difficulty,
            identity_seed=(seed, person),
            expressions=(label,),
        )
    )
