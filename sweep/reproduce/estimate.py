"""How long trainings take on this machine: a few steps of each, and one scoring of a test half, measured."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch

from ...cache.interrupt import Stop
from ...encoders.device import parse_device
from ...encoders.precision import resolve_precision
from ...train.config.config import TrainConfig
from ...train.loop.stacks.rule import num_together
from ...train.loop.stacks.together import run_together
from ...train.loop.trainer import reproducible
from ...train.loop.training import Training
from ...train.loop.watch import Part, TrainingWatch
from ...train.preparation import Prepared

LEAST, MOST = 4, 40  # steps that are timed, besides the first one, which is slower
ENOUGH = 1.0  # seconds of them


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What was measured of a configuration."""

    together: int  # trainings at once
    step: float  # seconds of one step of all of them
    steps: int  # of an epoch
    scoring: float  # seconds in which one training's test half is scored

    def seconds(self, config: TrainConfig, parts: int) -> float:
        """Return how long so many trainings take."""
        rounds = -(-parts // self.together)
        epochs = config.loop.epochs
        scored = epochs // config.eval_every if config.eval_every else 0
        return rounds * epochs * self.steps * self.step + parts * (scored + 2) * self.scoring


class _Timed(Training):
    """A training of which a few steps are taken, and nothing is kept."""

    def save(self) -> None:
        """Keep nothing."""

    def keep(self) -> None:
        """Keep nothing."""

    def end_epoch(self, record: dict) -> None:
        """Score nothing."""


class _Clock(TrainingWatch):
    """Stops when enough steps are timed."""

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.times: list[float] = []

    def step(self, epoch: int, step: int) -> None:
        self.times.append(time.perf_counter())
        taken = len(self.times) - 1
        if taken >= LEAST and (taken >= MOST or self.times[-1] - self.times[0] > ENOUGH):
            self.stop.wanted = True

    @property
    def seconds(self) -> float:
        """Return how long a step takes."""
        if len(self.times) < 2:
            return 0.0
        return (self.times[-1] - self.times[0]) / (len(self.times) - 1)


def measure_speed(ready: Prepared, config: TrainConfig, *, alone: bool = False) -> Speed:
    """Take a few steps of a configuration, as many trainings at once as a run takes; `alone`: one."""
    device = ready.device
    precision, _ = resolve_precision(config.loop.precision, parse_device(config.device))
    data, fold = ready.data, max(ready.plan.folds, key=lambda one: len(one.train))
    parts = len(config.seeds) * len(ready.plan.folds)
    together, _ = num_together(
        config,
        width=data.clips.width,
        maps=data.clips.maps,
        num_classes=len(data.labels),
        device=device,
        precision=precision,
    )
    together = 1 if alone else min(together, parts)
    with reproducible(device, config.loop.threads or torch.get_num_threads()):
        stop = Stop()
        clock = _Clock(stop)
        trainings = [
            _Timed(
                config,
                Part(name=f"timed{number}", fold=fold.name, seed=config.seeds[0], index=number, total=together),
                fold,
                data,
                device=device,
                precision=precision,
                watch=clock,
                stop=stop,
                start=ready.start,
            )
            for number in range(together)
        ]
        if together > 1:
            run_together(trainings, stop=stop)
        else:
            trainings[0].run_epochs()
        if alone:  # the first time is slower
            trainings[0].predicted(trainings[0].test)
        start = time.perf_counter()
        trainings[0].predicted(trainings[0].test)
        scoring = time.perf_counter() - start
    return Speed(together=together, step=clock.seconds, steps=trainings[0].trainer.num_steps, scoring=scoring)


def duration(seconds: float) -> str:
    """Write a time as 0.8 s, 12 s, 6 min or 2.5 h."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
