"""How much is measured: on a GPU, and in a dry run, in which the same code has two cores of a CPU and two minutes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of everything."""

    subjects: int = 3  # rendered people
    clips_each: int = 7
    picture: tuple[int, int] = (640, 360)
    frames: tuple[int, int] = (30, 150)  # of a rendered clip, the shortest and the longest
    copies: int = 24  # of each rendered video: more clips without more rendering
    few_copies: int = 6  # whose time is subtracted, so that the start of an extraction does not count
    crop: int = 224
    seconds: float = 2.0  # that a stage alone is measured for
    copied: int = 2**30  # bytes of a copy
    est: tuple[tuple[str, int], ...] = ()  # what is other than in published EST
    clips: int = 11_697  # of an epoch
    mean_frames: int = 77
    steps: int = 40  # in a round of steps
    rounds: int = 7
    trainings: int = 16  # at once
    training_steps: int = 10
    finetune_steps: int = 10
    finetune_crop: int = 224
    finetune_batch: int = 8
    epochs: int = 2  # of the run that predicts


GPU = Sizes()
DRY = Sizes(
    subjects=3,
    clips_each=2,
    picture=(256, 192),
    frames=(15, 18),
    copies=2,
    few_copies=1,
    crop=64,
    seconds=0.1,
    copied=2**24,
    est=(("dim", 64), ("heads", 4), ("ffn", 128), ("layers", 1)),
    clips=32,
    mean_frames=12,
    steps=1,
    rounds=1,
    trainings=2,
    training_steps=1,
    finetune_steps=1,
    finetune_crop=32,
    finetune_batch=2,
    epochs=1,
)
