"""Training on cached features: epochs and steps of one model.

Everything random follows from (seed, epoch, step) alone, never from what ran before: a run that goes on after a kill takes the same
steps as one that was never stopped. An epoch is planned at once: which clips stand in which batch, which frames are looked at, in which
order their snippets come. A step is then one gather and the model.

Legend: S steps, B clips of a batch, n snippets, J frames of a snippet, D feature width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import EstError, UsageError
from .clipset import ClipSet
from .config import TrainConfig
from .graph import GraphedStep
from .models import EST, Output
from .sampling import Sampler
from .stop import Stop
from .watch import Watch

EXPRESSION, ORDER, RIGHT, ORDER_RIGHT = range(4)  # what a step leaves behind
DIVERGED = 1000.0  # a mean loss above it comes from weights that run away, not from hard clips
LARGEST = 1e6  # no weight comes near it while something is learnt


@dataclass(frozen=True, kw_only=True, eq=False)
class EpochPlan:
    """All that an epoch's steps will look at."""

    target: Tensor  # (S, B) classes
    index: Tensor  # (S, B, n, J) rows of the frames, snippets already in their shuffled order
    picks: Tensor  # (S, B) which of the model's orders that is
    mix: Tensor | None  # (S,) share of a clip's own features when pairs are mixed
    seeds: list[int]  # (S,) of dropout and noise


class Trainer:
    """A model, its optimiser, and the clips it learns from."""

    def __init__(
        self,
        model: EST,
        clips: ClipSet,
        *,
        train: np.ndarray,
        target: Tensor,
        config: TrainConfig,
        precision: str,
        seed: int,
    ) -> None:
        loop, data = config.loop, config.data
        assert len(train) >= loop.batch, "a smaller last batch is dropped"
        self.model, self.clips, self.config, self.seed = model, clips, config, seed
        self.device = target.device
        self.train = torch.from_numpy(np.asarray(train, np.int64)).to(self.device)
        self.target = target  # (N,) class of every clip of the set, −1 where it has none
        self.num_steps = len(train) // loop.batch
        self.sampler = Sampler(config.sampling, config.model.snippets, config.model.frames)
        self.count = clips.count.to(self.device)
        self.autocast = precision == "bf16"
        kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[loop.optimizer]
        expect_graph(config, clips, self.device)
        self.optimizer = kind(
            model.parameters(),
            lr=torch.tensor(loop.learning_rate, device=self.device) if loop.graph else loop.learning_rate,
            weight_decay=loop.weight_decay,
            fused=self.device.type != "mps",
            capturable=loop.graph,
        )
        self._learn = GraphedStep(self.learn) if loop.graph else self.learn
        num_classes = int(model.num_classes)
        counts = torch.bincount(target[self.train], minlength=num_classes).double()
        self.class_weight = class_weight(counts).float() if data.class_weights else None
        self.draw_weight = (1 / counts.clamp(min=1))[target[self.train]] if data.balanced else None
        self.deviation = clips.statistics(self.train)[1].to(self.device) if data.noise else None
        self.tally = torch.zeros(self.num_steps, 4, dtype=torch.float64, device=self.device)

    def run_epoch(self, epoch: int, *, first_step: int = 0, stop: Stop, watch: Watch, until: float = math.inf) -> int:
        """Take the steps of an epoch from one on; return how many are done: fewer than all when somebody stops it, or from a time on."""
        self.model.train()
        plan = self.plan(epoch)
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(self.learning_rate(epoch))
            else:
                group["lr"] = self.learning_rate(epoch)
        for step in range(first_step, self.num_steps):
            self.step(plan, step)
            watch.step(epoch, step + 1)
            if stop.wanted or clock() >= until:
                return step + 1
        return self.num_steps

    def plan(self, epoch: int) -> EpochPlan:
        """Draw an epoch."""
        config = self.config
        size, steps = config.loop.batch, self.num_steps
        numbers = np.random.SeedSequence([self.seed, epoch])
        plan_seed, *seeds = numbers.generate_state(steps + 1, np.uint64).tolist()
        generator = torch.Generator(self.device).manual_seed(plan_seed)
        total = steps * size
        if self.draw_weight is not None:
            drawn = torch.multinomial(self.draw_weight, total, replacement=True, generator=generator)
        else:
            drawn = torch.randperm(len(self.train), generator=generator, device=self.device)[:total]
        clips = self.train[drawn]
        positions = self.sampler.train(self.count[clips], generator)
        picks = torch.zeros(total, dtype=torch.long, device=self.device)
        if self.model.config.ssop:
            orders = self.model.orders
            picks = torch.randint(len(orders), (total,), generator=generator, device=self.device)
            positions = positions.gather(1, orders[picks][:, :, None].expand_as(positions))
        mirrored = None
        if config.data.mirrored:
            mirrored = torch.rand(total, generator=generator, device=self.device) < 0.5
        mix = None
        if config.data.mixup:
            shares = np.random.default_rng(plan_seed).beta(config.data.mixup, config.data.mixup, steps)
            mix = torch.from_numpy(shares.astype(np.float32)).to(self.device)
        index = self.clips.index(clips, positions, mirrored=mirrored)
        return EpochPlan(
            target=self.target[clips].view(steps, size),
            index=index.view(steps, size, *index.shape[1:]),
            picks=picks.view(steps, size),
            mix=mix,
            seeds=seeds,
        )

    def step(self, plan: EpochPlan, step: int) -> None:
        """Learn from one batch."""
        seed_device(self.device, plan.seeds[step])
        inputs = [plan.index[step], plan.target[step], plan.picks[step]]
        self.tally[step] = self._learn(*inputs, *([] if plan.mix is None else [plan.mix[step]]))

    def learn(self, index: Tensor, target: Tensor, picks: Tensor, share: Tensor | None = None) -> Tensor:
        """Learn from rows (B, n, J), classes (B,) and orders (B,); return what a step leaves behind (4,)."""
        features = self.clips.take(index)  # (B, n, J, D)
        if self.deviation is not None:
            features = features + self.config.data.noise * self.deviation * torch.randn_like(features)
        if share is not None:
            features = share * features + (1 - share) * features.roll(1, 0)
        orders = self.model.orders[picks] if self.model.config.ssop else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.autocast):
            output = self.model(features, orders)
        expression, order = self._losses(output, target, picks)
        if share is not None:
            others = self._losses(output, target.roll(1), picks.roll(1))
            expression = share * expression + (1 - share) * others[0]
            order = share * order + (1 - share) * others[1]
        loss = expression + self.model.config.weight_of_order * order
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.config.loop.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.loop.clip_norm)
        self.optimizer.step()
        right = (output.expression.argmax(1) == target).sum()
        order_right = (output.order.argmax(1) == picks).sum() if output.order is not None else torch.zeros_like(right)
        return torch.stack([expression.detach(), order.detach(), right, order_right]).double()

    def _losses(self, output: Output, target: Tensor, picks: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses of the two heads, in float32."""
        expression = F.cross_entropy(
            output.expression.float(),
            target,
            weight=self.class_weight,
            label_smoothing=self.config.data.label_smoothing,
        )
        if output.order is None:
            return expression, expression.new_zeros(())
        return expression, F.cross_entropy(output.order.float(), picks)

    def learning_rate(self, epoch: int) -> float:
        """Return the rate of an epoch: a linear rise over the warm-up, then half a cosine over the rest."""
        loop = self.config.loop
        if epoch < loop.rise:
            return loop.learning_rate * (epoch + 1) / loop.rise
        if loop.schedule == "constant":
            return loop.learning_rate
        done = (epoch - loop.rise) / (loop.epochs - loop.rise)
        return loop.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def expect_sound(self, epoch: int, steps: int) -> None:
        """Refuse to go on from losses that are no numbers or weights that run away, and to save them over better ones."""
        tally = self.tally[:steps].cpu()
        how = f"(learning rate {self.learning_rate(epoch):.3g}, {'bf16' if self.autocast else 'fp32'})"
        remedy = "a lower --lr, or --set loop.clip_norm=1; est cache verify looks at the features"
        bad = (~torch.isfinite(tally)).any(1).nonzero()
        if len(bad):
            step = int(bad[0])
            which = "order" if torch.isfinite(tally[step, EXPRESSION]) else "expression"
            raise EstError(
                f"The {which} loss of epoch {epoch + 1}, step {step + 1} is not a number {how}.", remedy=remedy
            )
        weights = [parameter.detach() for parameter in self.model.parameters()]
        largest = float(torch.stack(torch._foreach_norm(weights, math.inf)).max())
        if not largest <= LARGEST:
            raise EstError(
                f"The weights run away: the largest is {largest:.3g} after epoch {epoch + 1}, step {steps} {how}.",
                remedy=remedy,
            )

    def record(self, epoch: int, seconds: float) -> dict[str, Any]:
        """Sum an epoch up; refuse one that ran away."""
        self.expect_sound(epoch, self.num_steps)
        tally = self.tally.cpu()
        means = tally.mean(0)
        weight = self.model.config.weight_of_order
        loss = float(means[EXPRESSION] + weight * means[ORDER])
        if loss > DIVERGED:
            raise EstError(
                f"Training diverged: the mean loss of epoch {epoch + 1} is {loss:.3g} (learning rate {self.learning_rate(epoch):.3g}).",
                remedy="a lower --lr, a longer --set loop.warmup=…, or --set loop.clip_norm=1",
            )
        clips = self.num_steps * self.config.loop.batch
        found: dict[str, Any] = {
            "epoch": epoch + 1,
            "learning_rate": self.learning_rate(epoch),
            "loss": loss,
            "expression_loss": float(means[EXPRESSION]),
            "train_right": int(tally[:, RIGHT].sum()),
            "train_clips": clips,
        }
        if self.model.config.ssop:
            found |= {"order_loss": float(means[ORDER]), "order_right": int(tally[:, ORDER_RIGHT].sum())}
        return found | {"seconds": round(seconds, 4), "clips_per_second": round(clips / max(seconds, 1e-9), 1)}

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that going on needs."""
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        for index, values in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer/{index}/{name}": value for name, value in values.items()}
        return tensors | {"tally": self.tally}

    def restore(self, model: Mapping[str, Tensor], optimizer: Mapping[str, Tensor], tally: Tensor) -> None:
        """Take back what `state` gave."""
        self.model.load_state_dict(dict(model))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in optimizer.items():
            index, _, key = name.partition("/")
            state.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.tally.copy_(tally)


def expect_graph(config: TrainConfig, clips: ClipSet, device: torch.device) -> None:
    """Refuse to record steps where they cannot be."""
    if config.loop.graph and (device.type != "cuda" or clips.count.device.type != "cuda"):
        raise UsageError(
            f"loop.graph records steps on a GPU, with the features on it; this run is on {device}.",
            remedy="--set loop.graph=false",
        )


def class_weight(counts: Tensor) -> Tensor:
    """Return what a clip of each class counts: N / (classes present · clips of it), whose mean over the clips is 1.  # (C,) → (C,)"""
    present = (counts > 0).sum()
    return torch.where(counts > 0, counts.sum() / (present * counts.clamp(min=1)), 0.0)


@contextmanager
def reproducible(device: torch.device, threads: int) -> Generator[None]:
    """Compute on so many threads, with which sums come out the same, and leave torch's state as it was."""
    before = torch.get_num_threads()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def seed_device(device: torch.device, seed: int) -> None:
    """Seed dropout and noise on one device. `torch.manual_seed` does it for all there are, which takes longer than a small step."""
    if device.type == "cuda":
        torch.cuda.default_generators[device.index].manual_seed(seed)
    elif device.type == "cpu":
        torch.default_generator.manual_seed(seed)
    else:
        torch.manual_seed(seed)


def clock() -> float:
    """Return seconds that only go forward."""
    return time.perf_counter()
