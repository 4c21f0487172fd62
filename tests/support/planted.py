"""Caches in which one brief expression is planted, early or late, and models of a line that read it: nothing need be learnt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from train_samples import WIDTH, learning_clip, learning_recipes, tiny_config

from est.cache import CacheWriter
from est.train import ProtocolConfig
from est.train.models.contract import ModelConfig, Snippets
from est.train.models.model import Model
from est.train.models.scaling import Scaling

LABELS = ("early-then-late", "late-then-early")  # a temporal pair by its names
EXPRESSION = 5  # the number of the feature that the expression is in
MOMENTS = ("onset", "apex", "offset")
STRENGTH, FRAMES, LONG = 8.0, 60, 8  # of 60 frames 8 are 13 %
STILL = tiny_config(
    epochs=1, learning_rate=1e-12, protocol=ProtocolConfig(kind="kfold", folds=2), control=False, weight_decay=0.0
)


def planted_cache(path, clips=24, *, told=MOMENTS, long=LONG, faceless=(), gap=slice(0)):
    """Write a cache of clips whose expression comes early or late; `told` are moments that it holds, frames of `gap` show no face."""
    with CacheWriter.open(path, learning_recipes(), labels=LABELS) as writer:
        for number in range(clips):
            rng = np.random.default_rng([3, number])
            late = number % 2
            onset = int(rng.integers(40, 60 - long - 8)) if late and long == LONG else int(rng.integers(10, 18))
            clip = learning_clip(number, labels=LABELS, frames=FRAMES, face=number not in faceless)
            person = number // 2 % 6
            rows = np.random.default_rng([5, person]).normal(size=WIDTH) + 0.05 * rng.normal(size=(FRAMES, WIDTH))
            rows[:, EXPRESSION] = 0.05 * rng.normal(size=FRAMES)
            rows[onset : onset + long, EXPRESSION] += STRENGTH
            state = np.ones(FRAMES, np.uint8) if number not in faceless else np.zeros(FRAMES, np.uint8)
            state[gap] = 0
            moments = {"onset": onset, "apex": onset + long // 2, "offset": onset + long - 1}
            moments = (
                {name: moments[name] for name in told(number)}
                if callable(told)
                else {name: moments[name] for name in told}
            )
            rows[state == 0] = 0
            writer.add(
                replace(
                    clip,
                    features={"gap": rows.astype(np.float16)},
                    state=state,
                    box=np.where(state[:, None] == 0, np.nan, 0).astype(np.float32).repeat(4, 1),
                    landmarks=np.where(state[:, None, None] == 0, np.nan, 0)
                    .astype(np.float32)
                    .repeat(5, 1)
                    .repeat(2, 2),
                    subject=f"P{person}",
                    **moments,
                )
            )
    return path


@dataclass(frozen=True, kw_only=True)
class TimedConfig(ModelConfig):
    name: ClassVar[str] = "timed"
    title: ClassVar[str] = "Timed sum"
    frames: int = 5
    parts: int = 7
    blind: bool = False  # to order

    @property
    def shown(self):
        return Snippets(count=self.parts, frames=self.frames)


class Output(NamedTuple):
    expression: torch.Tensor


class Timed(Model):
    """Early where the expression stands in the first places, late in the last; or its sum alone, which says nothing."""

    def __init__(self, config, *, width, num_classes):
        super().__init__()
        self.config, self.width, self.num_classes, self.scaling = config, width, num_classes, Scaling(width)
        self.bias = torch.nn.Parameter(torch.zeros(num_classes))

    def forward(self, batch):
        seen = batch["features"][..., EXPRESSION].flatten(1)
        weight = torch.ones(seen.shape[1]) if self.config.blind else torch.linspace(-1, 1, seen.shape[1])
        late = (seen * weight).sum(1) / STRENGTH
        return Output(expression=torch.stack([-late, late], 1) + self.bias)

    def explain(self, batch):
        seen = batch["features"][..., EXPRESSION].abs() + 1e-3
        return {"attention": seen.mean(2)[:, None].softmax(2), "alpha": seen}
