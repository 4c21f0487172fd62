"""What an epoch looks at, drawn at once: which clips stand in which batch, which of their frames, and what the model draws besides.

It follows from (seed, epoch) alone.

Legend: S steps, B clips of a batch, n snippets, J frames of a snippet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..config.config import TrainConfig
from ..config.finetune import FinetuneConfig
from ..models.model import Model
from .clipset import ClipSet
from .sampling import sampler_of


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochPlan:
    """All that an epoch's steps will look at."""

    target: Tensor  # (S, B) classes
    votes: Tensor | None = None  # (S, B, C) shares of the classes to learn from, where people voted
    index: Tensor  # (S, B, n, J) rows of the frames, as the model has arranged them
    extras: dict[str, Tensor]  # (S, B, …) what the model draws besides and is told of frames, by name
    mix: Tensor | None  # (S,) share of a clip's own features when pairs are mixed
    augmentation: Tensor | None  # (S, B, 4) how each clip's pictures are moved, scaled and lit
    seeds: list[int]  # (S,) of dropout and noise


class Planner:
    """Draws the epochs of one training."""

    def __init__(
        self,
        clips: ClipSet,
        *,
        train: Tensor,
        target: Tensor,
        model: Model,
        votes: Tensor | None = None,
        weight: Tensor | None,
        config: TrainConfig,
        seed: int,
    ) -> None:
        self.clips, self.config, self.seed = clips, config, seed
        self.train = train  # clips that are learnt from
        self.target = target  # (N,) class of every clip of the set
        self.votes = votes  # (N, C) of every clip of the set
        self.model = model
        self.weight = weight  # how often each is drawn; None: once
        self.count = clips.count.to(target.device)
        self.sampler = sampler_of(config.sampling, config.model.shown, longest=int(clips.count.max()))
        self.num_steps = len(train) // config.loop.batch  # a smaller last batch is dropped

    def draw(self, epoch: int) -> EpochPlan:
        """Draw an epoch."""
        config = self.config
        size, steps, device = config.loop.batch, self.num_steps, self.target.device
        numbers = np.random.SeedSequence([self.seed, epoch])
        plan_seed, *seeds = numbers.generate_state(steps + 1, np.uint64).tolist()
        generator = torch.Generator(device).manual_seed(plan_seed)
        total = steps * size
        if self.weight is not None:
            drawn = torch.multinomial(self.weight, total, replacement=True, generator=generator)
        else:
            drawn = torch.randperm(len(self.train), generator=generator, device=device)[:total]
        clips = self.train[drawn]
        positions = self.sampler.train(self.count[clips], generator)
        extras = self.model.draw_extras(total, generator, device)
        positions = self.model.arrange(positions, extras)
        assert not {"features", *config.model.told} & extras.keys(), "what a model draws has names of its own"
        extras = {**extras, **self.clips.told(config.model.told, clips, positions)}
        array = None
        if config.data.mirrored or config.data.views:
            array = torch.randint(self.clips.arrays, (total,), generator=generator, device=device)
        mix = None
        if config.data.mixup:
            shares = np.random.default_rng(plan_seed).beta(config.data.mixup, config.data.mixup, steps)
            mix = torch.from_numpy(shares.astype(np.float32)).to(device)
        augmentation = None
        if config.finetune.augments:
            augmentation = draw_augmentations(total, config.finetune, generator)
        index = self.clips.index(clips, positions, array=array)
        return EpochPlan(
            target=self.target[clips].view(steps, size),
            votes=None if self.votes is None else self.votes[clips].view(steps, size, -1),
            index=index.view(steps, size, *index.shape[1:]),
            extras={name: drawn.view(steps, size, *drawn.shape[1:]) for name, drawn in extras.items()},
            mix=mix,
            augmentation=None
            if augmentation is None
            else augmentation.view(steps, size, 4).to(index.device),  # where pictures are made
            seeds=seeds,
        )


def draw_augmentations(count: int, config: FinetuneConfig, generator: torch.Generator) -> Tensor:
    """Draw how clips are moved (x, y in sides), scaled and lit.  # → (count, 4)"""
    reach = torch.tensor([config.shift, config.shift, config.zoom, config.brightness], device=generator.device)
    drawn = torch.rand(count, 4, generator=generator, device=generator.device)
    return (2 * drawn - 1) * reach + torch.tensor([0.0, 0.0, 1.0, 1.0], device=generator.device)
