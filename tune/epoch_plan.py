"""What an epoch looks at, drawn at once: which frames stand in which batch, and how each picture is changed.

Everything follows from (seed, epoch). Of a unit that is drawn several times in an epoch the frames are spread over its weight: two near
the apex of a clip, and not twice the same by chance. With `together` each draw is of several frames, which are neighbours in a
batch and are spread by themselves.

Legend: S steps, B frames of a batch, E frames of an epoch, U units, K frames together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..train.data.pixels import AS_IT_IS
from .config import TuneConfig
from .samples import Samples

DRAWING = 2  # stream of random numbers under one seed
HOLES = 0.5  # share of the pictures that lose a square


@dataclass(frozen=True, kw_only=True, eq=False)
class Epoch:
    """All that an epoch's steps will look at."""

    frames: np.ndarray  # (S, B)
    index: Tensor  # (S, B, 1, 1) the same for `Pictures.take`
    augmentation: Tensor | None  # (S, B, 4) how pictures are moved, scaled and lit
    holes: Tensor | None  # (S, B, 3) middle (x, y) and side of a square without anything, in sides
    seeds: list[int]  # (S,) of what is random inside an encoder


def shape_of_epoch(samples: Samples, train: np.ndarray, config: TuneConfig) -> tuple[int, int]:
    """Return how many steps an epoch has, and how many frames a step: (S, B)."""
    wanted = int(np.minimum(samples.count[train], config.frames_per_clip).sum())
    together = frames_together(samples, config)
    batch = max(1, min(config.batch, wanted) // together) * together
    return max(1, round(wanted / batch)), batch


def frames_together(samples: Samples, config: TuneConfig) -> int:
    """Return how many frames of a unit are judged together; of images, which have one frame each, one."""
    return min(config.together, int(samples.count.max()))


def draw_epoch(samples: Samples, train: np.ndarray, config: TuneConfig, epoch: int) -> Epoch:
    """Draw an epoch from some units."""
    steps, batch = shape_of_epoch(samples, train, config)
    total = steps * batch
    rng = np.random.default_rng([config.seed, DRAWING, epoch])
    truth = samples.truth[train]
    groups = [train[truth == code] for code in np.unique(truth)] if config.balanced else [train]
    together = frames_together(samples, config)
    units = draw_units(groups, total // together, rng)
    if together == 1:
        frames = samples.frames_at(units, spread_shares(units, rng))
    else:
        shares = (np.arange(together) + rng.random((len(units), together))) / together
        frames = samples.frames_at(np.repeat(units, together), shares.ravel())
    mirrored = rng.random(total) < 0.5 if config.mirrored else None
    augmentation = holes = None
    if config.augments:
        reach = np.array([config.shift, config.shift, config.zoom, config.brightness])
        augmentation = (
            torch.from_numpy((2 * rng.random((total, 4)) - 1) * reach + AS_IT_IS).float().view(steps, batch, 4)
        )
    if config.occlusion:
        squares = rng.random((total, 3)) * np.array([1.0, 1.0, config.occlusion])
        squares[rng.random(total) >= HOLES, 2] = 0.0
        holes = torch.from_numpy(squares).float().view(steps, batch, 3)
    return Epoch(
        frames=frames.reshape(steps, batch),
        index=samples.pictures.index(frames, mirrored).view(steps, batch, 1, 1),
        augmentation=augmentation,
        holes=holes,
        seeds=rng.integers(0, 2**62, steps).tolist(),
    )


def draw_units(groups: Sequence[np.ndarray], total: int, rng: np.random.Generator) -> np.ndarray:
    """Draw units, every group equally often, and of a group all before any comes again.  # → (E,)"""
    shares = np.full(len(groups), total // len(groups))
    shares[rng.permutation(len(groups))[: total % len(groups)]] += 1
    drawn = []
    for group, share in zip(groups, shares.tolist(), strict=True):
        rounds = -(-share // len(group))
        passes = [rng.permutation(group) for _ in range(rounds)]
        drawn.append(np.concatenate(passes)[:share] if passes else group[:0])
    return rng.permutation(np.concatenate(drawn))


def spread_shares(units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw where in each unit to look: of k times one in each k-th of its weight.  # (E,) → (E,) from 0 to below 1"""
    order = np.argsort(units, kind="stable")
    _, starts, times = np.unique(units[order], return_index=True, return_counts=True)
    rank = np.empty(len(units), np.int64)
    rank[order] = np.arange(len(units)) - np.repeat(starts, times)
    number = np.empty(len(units), np.int64)
    number[order] = np.repeat(times, times)
    return (rank + rng.random(len(units))) / number


def punch(pictures: Tensor, holes: Tensor) -> Tensor:
    """Fill squares with grey.  # (B, S, S, 3) uint8, (B, 3) → (B, S, S, 3)"""
    side = pictures.shape[1]
    at = (torch.arange(side, device=pictures.device) + 0.5) / side
    half = holes[:, 2:] / 2
    across, down = ((at - holes[:, axis : axis + 1]).abs() < half for axis in (0, 1))  # (B, S)
    return pictures.masked_fill((down[:, :, None] & across[:, None, :])[..., None], 128)
