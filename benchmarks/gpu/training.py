"""Trainings of the published EST on a cache, ready to be taken step by step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from measured import Context, LeftOut

from est.cache import open_cache
from est.encoders.precision import why_emulated
from est.train import LoopConfig, TrainConfig, build_model, model_config
from est.train.data.clipset import ClipSet
from est.train.loop.trainer import Trainer

CLASSES = 7


def clips_of(context: Context, path: Path) -> ClipSet:
    """Load a cache onto the device."""
    cache = open_cache(path)
    return ClipSet.from_cache(cache, np.arange(len(cache)), device=context.device)


def trainer_of(context: Context, cache: Path | ClipSet, *, precision: str, graph: bool, bare: bool = False) -> Trainer:
    """Return a training of published EST; a bare one learns from the same clips at every step, which are gathered already."""
    if reason := why_emulated(precision, context.device):
        raise LeftOut(reason)
    clips = cache if isinstance(cache, ClipSet) else clips_of(context, cache)
    loop, est = LoopConfig(precision=precision, graph=graph), model_config("est", **dict(context.sizes.est))
    config = TrainConfig(model=est, loop=loop, device=str(context.device))
    model = build_model(config.model, width=clips.width, num_classes=CLASSES, seed=0).to(context.device)
    target = torch.from_numpy(clips.label).to(context.device)
    train = np.arange(len(clips))
    trainer = Trainer(model, clips, train=train, target=target, config=config, precision=precision, seed=1)
    if bare:
        held = clips.take(trainer.planner.draw(0).index[0])
        trainer.clips = replace(clips)
        object.__setattr__(trainer.clips, "take", lambda *_: held)
    return trainer
