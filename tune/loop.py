"""Steps and epochs of an encoder that learns on single frames, whatever they are of.

Everything random follows from (seed, epoch, step): a training that is resumed takes the same steps as one that was never stopped.

Legend: S steps, B frames of a batch, C classes, U units, K frames that are scored, J frames of a unit that are judged together.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..cache.interrupt import Stop
from ..encoders.optimizers import without_compiler
from ..encoders.precision import Precision, why_emulated
from ..errors import EstError
from ..train.data.memory import is_shortage
from ..train.data.prefetch import BatchRequest
from ..train.loop.autocast import casting
from ..train.loop.average import Average
from ..train.loop.checkpoint import Checkpoint, learning_state, restore_learning
from ..train.loop.trainer import clock, seed_device
from ..train.loop.watch import TrainingWatch
from ..train.results.metrics import Scores, score
from .config import TuneConfig
from .epoch_plan import Epoch, draw_epoch, frames_together, punch, shape_of_epoch
from .model import FrameClassifier
from .samples import Samples

LOSS, RIGHT = range(2)  # what a step leaves behind
LOOKED_AT = 256  # frames that are looked at before the first step


@dataclass(frozen=True, kw_only=True, eq=False)
class FrameScores:
    """What single frames were taken for, and their units by the mean over their frames."""

    frames: Scores
    units: Scores

    @property
    def rank(self) -> tuple[float, float]:
        """Return what a better epoch has more of."""
        return self.units.uar, self.frames.uar


class FrameTrainer:
    """A model, its optimiser, and the samples it learns from."""

    def __init__(
        self,
        model: FrameClassifier,
        samples: Samples,
        train: np.ndarray,
        config: TuneConfig,
        *,
        device: torch.device,
        precision: Precision,
    ) -> None:
        self.model, self.samples, self.train, self.config = model.to(device), samples, train, config
        self.device = device
        self.precision: Precision = precision
        self.num_steps, self.batch = shape_of_epoch(samples, train, config)
        self.together = frames_together(samples, config)
        self.average = Average(self.model, config.average) if config.average else None
        self.target = torch.from_numpy(samples.target).to(device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=precision == "fp16")
        encoder, head = model.groups()
        self.optimizer = without_compiler(torch.optim.AdamW)(
            [{"params": head, "share": 1.0}, {"params": encoder, "share": config.rate}],
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=device.type != "mps",
        )
        self.tally = torch.zeros(self.num_steps, 2, dtype=torch.float64, device=device)
        self._waited = 0.0

    @property
    def scored(self) -> FrameClassifier:
        """Return the model that is scored and kept: the running mean where there is one."""
        return self.model if self.average is None else self.average.model

    def settle(self) -> None:
        """Take what stands at the start from some training frames: statistics of batch norms that learn, then the scale of the head."""
        units = self.train[np.linspace(0, len(self.train) - 1, min(len(self.train), LOOKED_AT)).astype(np.int64)]
        frames = self.samples.spread(units, max(1, LOOKED_AT // len(units)))
        with self.model.gathering_statistics():
            self._over(frames, self.model.features)
        self.model.eval()
        self.model.fit_scale(self._over(frames, self.model.features))
        if self.average is not None:
            self.average.model.load_state_dict(self.model.state_dict())

    def run_epoch(self, epoch: int, *, first_step: int, stop: Stop, watch: TrainingWatch, until: float) -> int:
        """Take the steps of an epoch from one on; return how many are done: fewer than all when it is stopped, or from a time on."""
        self.model.train()
        plan = draw_epoch(self.samples, self.train, self.config, epoch)
        augmentations = [
            None if plan.augmentation is None else plan.augmentation[step] for step in range(self.num_steps)
        ]
        self.samples.pictures.expect(list(zip(plan.index, augmentations, strict=True))[first_step:])
        for step in range(first_step, self.num_steps):
            self._set_rate(epoch * self.num_steps + step)
            seed_device(self.device, plan.seeds[step])
            self._step(plan, step, epoch * self.num_steps + step)
            watch.step(epoch, step + 1)
            if stop.wanted or clock() >= until:
                return step + 1
        return self.num_steps

    def _step(self, plan: Epoch, step: int, number: int) -> None:
        """Learn from one batch; `number` counts from the first step of the training."""
        try:
            augmentation = None if plan.augmentation is None else plan.augmentation[step]
            pictures = self._take((plan.index[step], augmentation))
            if plan.holes is not None:
                pictures = punch(pictures, plan.holes[step].to(self.device))
            units = self.samples.unit[plan.frames[step][:: self.together]]
            target = self.target[torch.from_numpy(units).to(self.device)]
            with casting(self.device, self.precision):
                logits = self.model(pictures)
            logits = logits.float().unflatten(0, (-1, self.together)).mean(1)  # (B, C) → (B / J, C)
            loss = F.cross_entropy(logits, target, label_smoothing=self.config.label_smoothing)
            self.optimizer.zero_grad(set_to_none=True)
            self.scaler.scale(loss).backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
            if self.average is not None:
                self.average.update(self.model, number)
        except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
            if not is_shortage(error):
                raise
            halved = self.precision == "fp32" and why_emulated("bf16", self.device) is None
            remedies = ["a smaller --batch", *(["--precision bf16"] if halved else [])]
            raise EstError(
                f"A step of {self.batch} frames does not fit into the memory of {self.device}.",
                remedy=", or ".join(remedies),
            ) from error
        right = (logits.argmax(1) == target.argmax(1)).sum()
        self.tally[step] = torch.stack([loss.detach(), right]).double()

    def _take(self, asked: BatchRequest) -> Tensor:
        """Return pictures in the order in which they were asked for.  # → (B, S, S, 3)"""
        found = self.samples.pictures.take(*asked)
        return found.rows[found.place.flatten()]

    @torch.no_grad()
    def _over(self, frames: np.ndarray, function: Callable[[Tensor], Tensor]) -> Tensor:
        """Return what a function of pictures makes of frames as they are.  # (K,) → (K, …) on the processor"""
        # no batch is smaller than the others: batch norms that take statistics of a single small map refuse
        parts = np.array_split(frames, max(1, len(frames) // self.batch))
        asked: list[BatchRequest] = [(self.samples.pictures.index(part), None) for part in parts]
        self.samples.pictures.expect(asked)
        with casting(self.device, self.precision):
            return torch.cat([function(self._take(names)).float().cpu() for names in asked])

    def score(self, units: np.ndarray) -> FrameScores:
        """Score some units, by single frames and by the mean over the frames of each."""
        samples = self.samples
        frames = samples.spread(units, self.config.frames_per_clip)
        model = self.scored.eval()
        shares = self._over(frames, lambda pictures: model(pictures).softmax(1)).double().numpy()
        sums = np.zeros(samples.target.shape)
        np.add.at(sums, samples.unit[frames], shares)
        return FrameScores(
            frames=score(samples.truth[samples.unit[frames]], shares.argmax(1), samples.labels),
            units=score(samples.truth[units], sums[units].argmax(1), samples.labels),
        )

    def learning_rate(self, step: int) -> float:
        """Return the rate of a step, counted from the first: a linear rise over the warm-up, then half a cosine to zero."""
        total = self.config.epochs * self.num_steps
        rise = round(self.config.warmup * total)
        if step < rise:
            return self.config.learning_rate * (step + 1) / rise
        return self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(total - rise, 1)))

    def _set_rate(self, step: int) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = group["share"] * self.learning_rate(step)

    def expect_sound(self, epoch: int, steps: int) -> None:
        """Refuse to continue from a loss that is not finite, and to save what it left."""
        bad = (~torch.isfinite(self.tally[:steps].cpu())).any(1).nonzero()
        if len(bad):
            step = int(bad[0])
            rate = self.learning_rate(epoch * self.num_steps + step)
            raise EstError(
                f"Tuning diverged: the loss of epoch {epoch + 1}, step {step + 1} is not a number "
                f"(learning rate {rate:.3g}, {self.precision}).",
                remedy="a lower --lr, or --precision fp32",
            )

    def record(self, epoch: int, seconds: float) -> dict[str, Any]:
        """Sum an epoch up."""
        self.expect_sound(epoch, self.num_steps)
        tally, frames = self.tally.cpu(), self.num_steps * self.batch
        judged = frames // self.together
        waited = self.samples.pictures.waited
        found = {
            "epoch": epoch + 1,
            "learning_rate": self.learning_rate((epoch + 1) * self.num_steps - 1),
            "loss": float(tally[:, LOSS].mean()),
            "train_right": int(tally[:, RIGHT].sum()),
            "train_clips": judged,
            "waited": round(waited - self._waited, 4),
            "seconds": round(seconds, 4),
            "frames_per_second": round(frames / max(seconds, 1e-9), 1),
        }
        self._waited = waited
        return found

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that resuming needs."""
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self.average.model.state_dict().items()}
        return tensors | learning_state(self.optimizer, self.scaler) | {"tally": self.tally}

    def restore(self, found: Checkpoint) -> None:
        """Take back what `state` gave."""
        self.model.load_state_dict(found.group("model"))
        if self.average is not None:
            self.average.model.load_state_dict(found.group("average"))
        restore_learning(found, self.optimizer, self.scaler)
        self.tally.copy_(found.tensors["tally"])
