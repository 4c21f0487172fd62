"""How long trainings take on this machine: a few steps of each, and the scoring of some clips, measured after a first time.

Medians, because other work on the machine makes single steps longer; whether it does is told by the processor time of this thread.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import numpy as np
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

WARM = 2  # first steps, which are slower
LEAST, MOST = 8, 40  # steps that are timed
ENOUGH, TOO_LONG = 1.0, 10.0  # seconds of them, and after which fewer steps than the least must do
FEW, MANY, TIMES = 8, 128, 3  # clips of a test half that are scored at first; and timed, where that is quick, how often
BUSY = 0.8  # of the time that steps take on a processor: with less, other work had the rest


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What was measured of a configuration."""

    together: int  # trainings at once
    step: float  # seconds of one step of all of them
    steps: int  # of an epoch
    scoring: float  # seconds in which one training's test half is scored
    busy: bool = False  # whether the machine did other work meanwhile
    took: float = 0.0  # seconds of measuring

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
        self.begun = time.perf_counter()
        self.times: list[float] = []
        self.worked: list[float] = []  # this thread's time on a processor

    def step(self, epoch: int, step: int) -> None:
        self.times.append(time.perf_counter())
        self.worked.append(time.thread_time())
        taken = len(self.times) - WARM
        if self.times[-1] - self.begun > TOO_LONG or (
            taken >= LEAST and (taken >= MOST or self.times[-1] - self.times[WARM - 1] > ENOUGH)
        ):
            self.stop.wanted = True

    @property
    def seconds(self) -> float:
        """Return how long a step takes: the median after the first ones; of a single step, how long that took."""
        if len(self.times) < 2:
            return self.times[0] - self.begun if self.times else 0.0
        each = np.diff(self.times)
        return float(np.median(each[WARM - 1 :] if len(each) >= WARM else each))

    @property
    def busy(self) -> bool:
        """Return whether this thread waited for a processor."""
        first = WARM - 1
        if len(self.times) <= first + 1:
            return False
        return self.worked[-1] - self.worked[first] < BUSY * (self.times[-1] - self.times[first])


def measure_speed(ready: Prepared, config: TrainConfig, *, alone: bool = False) -> Speed:
    """Take a few steps of a configuration, as many trainings at once as a run takes; `alone`: one."""
    ready.expect_fitting(config)
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
        scoring = _scoring(trainings[0])
    return Speed(
        together=together,
        step=clock.seconds,
        steps=trainings[0].trainer.num_steps,
        scoring=scoring,
        busy=clock.busy and device.type == "cpu",
        took=time.perf_counter() - clock.begun,
    )


def _scoring(training: Training) -> float:
    """Return how long the test half takes, from some of its clips."""

    def each(rows: np.ndarray) -> float:
        start = time.perf_counter()
        training.predicted(rows)
        return (time.perf_counter() - start) / len(rows)

    test = training.test
    if not len(test):
        return 0.0
    first = each(test[:FEW])
    if first * FEW > ENOUGH:
        return first * len(test)
    return float(np.median([each(test[:MANY]) for _ in range(TIMES)])) * len(test)


def rough(seconds: float) -> str:
    """Write an estimate as roughly as it is known: 40 s, 7 min."""
    if seconds <= 0:
        return duration(0.0)
    digits = 10 ** math.floor(math.log10(seconds))
    step = digits / 2 if seconds < 2 * digits else digits
    return duration(round(seconds / step) * step)


def duration(seconds: float) -> str:
    """Write a time as 0.8 s, 12 s, 6 min or 2.5 h."""
    if seconds < 1:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
