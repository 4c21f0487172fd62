"""Training on cached features: epochs and steps of one model.

What a step looks at are cached features, or frames that a backbone makes features of while it learns with the model. A batch is learnt
from in pieces, shared between the processes of a `World` and taken one after the other; losses are divided by the totals of the whole
batch, and gradients added.

Everything random follows from (seed, epoch, step) alone, never from what ran before: a run that is resumed after a kill takes the same
steps as one that was never stopped. An epoch is planned at once (epoch.py); a step is then one gather and the model.

Legend: S steps, B clips of a batch, n snippets, J frames of a snippet, D feature width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...cache.interrupt import Stop
from ...encoders.precision import Precision
from ...errors import EstError, UsageError
from ..config.config import TrainConfig
from ..data.clipset import ClipSet
from ..data.epoch import EpochPlan, Planner
from ..data.memory import enough_memory
from ..losses.class_weights import summed_weight
from ..models.finetuned import FinetunedModel
from ..models.model import Extras, Model
from .autocast import casting
from .average import Average
from .checkpoint import Checkpoint, learning_state, restore_learning
from .graph import GraphedStep
from .objective import Objective, centres_of, weighting_of
from .optimizer import build_optimizer, learning_rate
from .stacks.own_draws import Site
from .watch import TrainingWatch
from .world import ALONE, GradientSums, World

DIVERGED = 1000.0  # a mean loss above it comes from diverging weights, not from hard clips
NAMES = {"train", "val", "test", "control", "part", "fold", "seed", "oracle"}
NAMES |= {"right", "total", "war", "uar", "selected", "train_clips", "seconds"}
LARGEST = 1e6  # no weight comes near it while something is learnt


class Trainer:
    """A model, its optimiser, and the clips it learns from."""

    def __init__(
        self,
        model: Model,
        clips: ClipSet,
        *,
        train: np.ndarray,
        target: Tensor,
        votes: Tensor | None = None,
        config: TrainConfig,
        precision: Precision,
        seed: int,
        world: World = ALONE,
    ) -> None:
        loop, data = config.loop, config.data
        assert len(train) >= loop.batch
        self.model, self.clips, self.config, self.seed, self.world = model, clips, config, seed, world
        self.head = model.on_features
        self.device = target.device
        self.train = torch.from_numpy(np.asarray(train, np.int64)).to(self.device)
        self.target = target  # (N,) class of every clip of the set, −1 where it has none
        self.votes = votes  # (N, C) shares of the classes to learn from, where people voted
        self.precision: Precision = precision
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        expect_graph(config, clips, self.device)
        self.objective = Objective(self.head, precision, config.loss, centres_of(config, self.head, seed))
        self.optimizer = build_optimizer(groups_of(model, config, self.objective.centres), loop, self.device)
        self.average = Average(model, loop.average) if loop.average else None
        # Pieces are the same, however many processes share them: batch norms see a piece at a time. Mixup mixes inside a process's share.
        pieces, stride = loop.accumulate, loop.accumulate * world.size
        self.pieces = [slice(piece + pieces * world.rank, None, stride) for piece in range(pieces)]
        self._sums = GradientSums(world, self._parameters(), early=not loop.graph)
        self._learn = GraphedStep(self.learn) if loop.graph else self.learn
        labelled = torch.bincount(target[self.train], minlength=int(model.num_classes)).double()
        self.planner = Planner(
            clips,
            train=self.train,
            target=target,
            votes=votes,
            model=self.head,
            weight=(1 / labelled.clamp(min=1))[target[self.train]] if data.balanced else None,
            config=config,
            seed=seed,
        )
        self.num_steps = self.planner.num_steps
        self.sites: Sequence[Site] | None = (
            None  # where it drops how much, known once it has been in a stack (stacks/stack.py)
        )
        self.deviation = None  # (D,) of features, of maps (D, 1, 1)
        if data.noise:
            self.deviation = clips.statistics(self.train)[1].view(-1, *(1 for _ in clips.maps)).to(self.device)
        self._waited = clips.waited
        self.terms = {**self.head.terms, **config.loss.terms}  # losses by name, and their weights
        counts = labelled if votes is None else votes[self.train].double().sum(0)
        self.weighting = weighting_of(config, self.terms, counts)
        self.class_weight = self.weighting.class_weight
        self.questions = list(self.objective.questions)
        assert not NAMES & set(self.questions), "names of the loop, or of a result"
        assert set(self.questions) == set(config.model.questions), "a model and its settings name the same questions"
        self.columns = list(self.objective.columns)  # what a step leaves behind
        self.tally = torch.zeros(self.num_steps, len(self.columns), dtype=torch.float64, device=self.device)

    def run_epoch(
        self, epoch: int, *, first_step: int = 0, stop: Stop, watch: TrainingWatch, until: float = math.inf
    ) -> int:
        """Take the steps of an epoch from one on; return how many are done: fewer than all when it is stopped, or from a time on."""
        plan = self.begin_epoch(epoch, first_step=first_step)
        for step in range(first_step, self.num_steps):
            self.step(plan, step, epoch)
            watch.step(epoch, step + 1)
            if self.world.any(stop.wanted or clock() >= until):
                return step + 1
        return self.num_steps

    def begin_epoch(self, epoch: int, *, first_step: int = 0) -> EpochPlan:
        """Set the model and the optimiser up for an epoch, and return what its steps look at."""
        self.model.train()
        if isinstance(self.model, FinetunedModel):
            self.model.head_only = epoch < self.config.head_first
        plan = self.planner.draw(epoch)
        for group in self.optimizer.param_groups:
            rate = group["share"] * self.learning_rate(epoch)
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate
        self.clips.expect(self._looked_at(plan, first_step))
        return plan

    @property
    def scored(self) -> Model:
        """Return the model that is scored and kept: the running mean of the weights, where there is one."""
        return self.model if self.average is None else self.average.model

    def _looked_at(self, plan: EpochPlan, first_step: int) -> Iterator[tuple[Tensor, Tensor | None]]:
        """Yield what the steps will take, in order, so that it can be loaded ahead."""
        for step in range(first_step, self.num_steps):
            for piece in self.pieces:
                yield plan.index[step][piece], None if plan.augmentation is None else plan.augmentation[step][piece]

    def step(self, plan: EpochPlan, step: int, epoch: int = 0) -> None:
        """Learn from one batch."""
        seed_device(self.device, plan.seeds[step] + self.world.rank)
        inputs = [plan.index[step], plan.target[step]]
        drawn = (*plan.extras.values(), plan.votes, plan.mix, plan.augmentation)
        inputs += [values[step] for values in drawn if values is not None]
        self._extras = tuple(plan.extras)
        with enough_memory(self.device, self.config):
            left = self._learn(*inputs)
        self.end_step(left, step, epoch)

    def end_step(self, left: Tensor, step: int, epoch: int) -> None:
        """Note what a step leaves behind, and take its weights into their running mean."""
        self.tally[step] = left
        if self.average is not None:
            self.average.update(self.model, epoch * self.num_steps + step)

    def learn(self, index: Tensor, target: Tensor, *drawn: Tensor) -> Tensor:
        """Learn from rows (B, n, J), classes (B,) and what else the plan has: extras, votes (B, C), a share (), augmentations (B, 4).

        Returns what a step leaves behind: `columns`.
        """
        extras = dict(zip(self._extras, drawn, strict=False))
        others = iter(drawn[len(extras) :])
        votes = next(others) if self.votes is not None else None
        share = next(others) if self.config.data.mixup else None
        augmentation = next(others) if self.config.finetune.augments else None
        weight = summed_weight(self.class_weight, target, votes)
        self.optimizer.zero_grad(set_to_none=True)
        left = torch.zeros(len(self.columns), dtype=torch.float64, device=self.device)
        for number, piece in enumerate(self.pieces):
            is_last = number == len(self.pieces) - 1
            features = self._features(index[piece], None if augmentation is None else augmentation[piece], share)
            own = {name: values[piece] for name, values in extras.items()}
            voted = None if votes is None else votes[piece]
            with self._sums.during_last_backward() if is_last else nullcontext():
                left += self._learn_piece(features, target[piece], own, voted, share, weight, len(target))
        self.update(left)
        return left

    def _parameters(self) -> list[nn.Parameter]:
        """Return what is learnt: the model, and the centres of a loss."""
        centres = self.objective.centres
        return [*self.model.parameters(), *([] if centres is None else [centres])]

    def _features(self, index: Tensor, augmentation: Tensor | None, share: Tensor | None) -> Tensor:
        """Return the features of a piece, noisy and mixed where that is wanted.  # (B, n, J) → (B, n, J, D)"""
        with casting(self.device, self.precision):
            features = self.model.features(self.clips.take(index, augmentation))
        return self.disturb(features, share)

    def disturb(self, features: Tensor, share: Tensor | None, stream: torch.Generator | None = None) -> Tensor:
        """Add noise from a stream to features and mix neighbouring clips, where that is wanted.  # (B, n, J, D)"""
        if self.deviation is not None:
            noise = torch.empty_like(features).normal_(generator=stream)
            features = features + self.config.data.noise * self.deviation * noise
        if share is not None:
            features = share * features + (1 - share) * features.roll(1, 0)
        return features

    def _learn_piece(
        self,
        features: Tensor,
        target: Tensor,
        extras: Extras,
        votes: Tensor | None,
        share: Tensor | None,
        weight: Tensor | int,
        count: int,
    ) -> Tensor:
        """Add a piece's gradients; return its share of what the step leaves behind."""
        how = {"votes": votes, "share": share, "weight": weight, "count": count, "weighting": self.weighting}
        total, left = self.objective(features, target, extras, **how)
        self.scaler.scale(total).backward()
        return left

    def update(self, left: Tensor, take_step: Callable[[], None] | None = None) -> None:
        """Add what all processes found, and take the step: the optimiser's own, or the one given for it."""
        self._sums.finish([left])
        if self.config.loop.clip_norm:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.loop.clip_norm)
        if take_step is not None:
            take_step()
            return
        self.scaler.step(self.optimizer)
        self.scaler.update()

    def learning_rate(self, epoch: int) -> float:
        """Return the rate of an epoch."""
        return learning_rate(self.config.loop, epoch)

    def expect_sound(self, epoch: int, steps: int) -> None:
        """Refuse to continue from losses that are not finite or weights that diverge, and to save them over better ones."""
        tally = self.tally[:steps].cpu()
        how = f"(learning rate {self.learning_rate(epoch):.3g}, {self.precision})"
        remedy = "a lower --lr, or --set loop.clip_norm=1; est cache verify checks the features"
        bad = (~torch.isfinite(tally)).any(1).nonzero()
        if len(bad):
            step = int(bad[0])
            which = next(
                name for name, value in zip(self.columns, tally[step], strict=True) if not torch.isfinite(value)
            )
            raise EstError(
                f"The {which} loss of epoch {epoch + 1}, step {step + 1} is not a number {how}.", remedy=remedy
            )
        weights = [parameter.detach() for parameter in self._parameters()]
        largest = float(torch.stack(torch._foreach_norm(weights, math.inf)).max())
        if not largest <= LARGEST:
            raise EstError(
                f"The weights diverge: the largest is {largest:.3g} after epoch {epoch + 1}, step {steps} {how}.",
                remedy=remedy,
            )

    def record(self, epoch: int, seconds: float) -> dict[str, Any]:
        """Sum an epoch up; refuse one that diverged."""
        self.expect_sound(epoch, self.num_steps)
        tally = self.tally.cpu()
        mean = dict(zip(self.columns, tally.mean(0), strict=True))
        first, *further = self.terms
        loss = float(sum((self.terms[name] * mean[name] for name in further), start=self.terms[first] * mean[first]))
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
            f"{first}_loss": float(mean[first]),
            "train_right": self._sum(tally, "right"),
            "train_clips": clips,
        }
        found |= {f"{name}_loss": float(mean[name]) for name in further}
        found |= {f"{name}_right": self._sum(tally, f"{name}_right") for name in self.questions}
        if self.config.looks_at_frames:
            found["waited"] = round(self.clips.waited - self._waited, 4)
            self._waited = self.clips.waited
        return found | {"seconds": round(seconds, 4), "clips_per_second": round(clips / max(seconds, 1e-9), 1)}

    def _sum(self, tally: Tensor, column: str) -> int:
        return int(tally[:, self.columns.index(column)].sum())

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that resuming needs."""
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        if self.average is not None:
            tensors |= {f"average/{name}": tensor for name, tensor in self.average.model.state_dict().items()}
        if self.objective.centres is not None:
            tensors["loss/centres"] = self.objective.centres
        return tensors | learning_state(self.optimizer, self.scaler) | {"tally": self.tally}

    def restore(self, found: Checkpoint) -> None:
        """Take back what `state` gave."""
        self.model.load_state_dict(found.group("model"))
        if self.average is not None:
            self.average.model.load_state_dict(found.group("average"))
        if self.objective.centres is not None:
            self.objective.centres.data.copy_(found.tensors["loss/centres"])
        restore_learning(found, self.optimizer, self.scaler)
        tally = found.tensors["tally"]
        if (tally.shape[1], len(self.columns)) == (4, 2):
            tally = tally[:, [0, 2]]  # before models stated their losses, EST without SSOP had columns of zeros for it
        self.tally.copy_(tally)


def expect_graph(config: TrainConfig, clips: ClipSet, device: torch.device) -> None:
    """Refuse to record steps where they cannot be."""
    if config.loop.graph and (device.type != "cuda" or clips.count.device.type != "cuda"):
        raise UsageError(
            f"loop.graph records steps on a GPU, with the features on it; this run is on {device}.",
            remedy="--set loop.graph=false",
        )


def groups_of(model: Model, config: TrainConfig, centres: nn.Parameter | None = None) -> list[dict[str, Any]]:
    """Return what the optimiser moves, with the share of the learning rate that each has."""
    own = []
    if centres is not None:  # the last group, without weight decay: they are points, and no weights
        own = [{"params": [centres], "share": config.loss.centre_rate, "weight_decay": 0.0}]
    if not isinstance(model, FinetunedModel):
        return [{"params": list(model.parameters()), "share": 1.0}, *own]
    backbone, head = model.groups()
    return [{"params": head, "share": 1.0}, {"params": backbone, "share": config.finetune.rate}, *own]


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
