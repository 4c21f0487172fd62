"""Models of one shape as one model with an axis more: the part of a stack (stack.py) that a thread computes.

The weights of all models lie one after the other in tensors of which each model's parameters are views. A step takes the batches of all,
runs the objective over the axis of models by `torch.vmap`, and hands each training its gradients.

Legend: K trainings, B clips of a batch, n snippets, J frames of a snippet, D feature width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from ...data.epoch import EpochPlan
from ...losses.class_weights import summed_weight
from ..objective import Weighting
from ..trainer import Trainer, seed_device
from .linear import Linears
from .own_draws import Masks, OwnDraws
from .quick_steps import QuickSteps

At = tuple[EpochPlan, int, int]  # the plan of an epoch, the step in it, the epoch


class StackPart:
    """Trainers whose parameters are views of common tensors while they are in it."""

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self.trainers = list(trainers)
        self.device, self.objective = trainers[0].device, trainers[0].objective
        own = [trainer.objective for trainer in trainers]  # with the centres of a loss, where there are any
        self.weights = _stacked([dict(one.named_parameters()) for one in own])
        self.learnt = [name for name, parameter in own[0].named_parameters() if parameter.requires_grad]
        for name in self.learnt:
            self.weights[name].requires_grad_()
        self.buffers = _stacked([dict(one.named_buffers()) for one in own])
        self.parameters = [[one.get_parameter(name) for name in self.learnt] for one in own]
        self.weightings = _stacked_weighting([trainer.weighting for trainer in trainers], self.device)
        smoothing = {trainer.weighting.smoothing for trainer in trainers}
        self.smoothing = smoothing.pop() if len(smoothing) == 1 else None  # a number where it is that of all
        self.grads = {name: torch.zeros_like(self.weights[name]) for name in self.learnt}
        self.linears = Linears(self.weights, self.grads)
        self.draws = OwnDraws(self.linears)
        self.steps = [
            QuickSteps(trainer.optimizer)
            if QuickSteps.possible(trainer.optimizer) and not trainer.scaler.is_enabled()
            else None
            for trainer in trainers
        ]
        self.moved: set[str] = set()  # names of weights that have gradients
        self.masks: Masks | None = None
        self.generator = torch.Generator()

    def step(self, at: Sequence[At], features: Tensor) -> None:
        """Let each training take the step at which it is.  # features (K, B, n, J, D)"""
        batch = self._batch(at, features)
        if self.masks is None:
            self._record_sites(batch)
        masks = self._draw(at, features)
        batch["masks"] = {number: mask for number, mask in enumerate(masks) if mask is not None}
        left = self._learn(batch)
        for number, (trainer, (_, step, epoch)) in enumerate(zip(self.trainers, at, strict=True)):
            trainer.update(left[number], self.steps[number])
            trainer.end_step(left[number], step, epoch)

    def _learn(self, batch: dict[str, Any]) -> Tensor:
        """Fill the gradients of all models; return what their steps leave behind.  # (K, columns)"""
        self.linears.clear()
        total, left = torch.vmap(self._assess)(self.weights_and_buffers, batch)
        wanted = [*self.linears.outputs, *(self.weights[name] for name in self.learnt)]
        grads = torch.autograd.grad(total.sum(), wanted, allow_unused=True)
        at_outputs, others = grads[: len(self.linears.outputs)], grads[len(self.linears.outputs) :]
        moved = self.linears.fill(at_outputs, dict(zip(self.learnt, others, strict=True)))
        self.linears.clear()
        if moved != self.moved:
            self._show(moved)
        return left

    def _show(self, moved: set[str]) -> None:
        """Let the optimisers see the gradients of these weights."""
        self.moved = moved
        for number, (own, quick) in enumerate(zip(self.parameters, self.steps, strict=True)):
            for name, parameter in zip(self.learnt, own, strict=True):
                parameter.grad = self.grads[name][number] if name in moved else None
            if quick is not None:
                quick.forget()

    @property
    def weights_and_buffers(self) -> dict[str, Tensor]:
        """Return everything that the models are made of, by name.  # (K, …)"""
        return {**self.weights, **self.buffers}

    def _batch(self, at: Sequence[At], features: Tensor) -> dict[str, Any]:
        """Return what `_assess` is given of each training.  # (K, …)"""
        batch: dict[str, Any] = {
            "features": features,
            "target": torch.stack([plan.target[step] for plan, step, _ in at]),
            "extras": {
                name: torch.stack([plan.extras[name][step] for plan, step, _ in at]) for name in at[0][0].extras
            },
            **self.weightings,
        }
        votes = [plan.votes[step] for plan, step, _ in at if plan.votes is not None]
        if votes:
            assert len(votes) == len(at), "trainings of a stack learn from votes all or none"
            batch["votes"] = torch.stack(votes)
        mixes = [plan.mix[step] for plan, step, _ in at if plan.mix is not None]
        if mixes:
            assert len(mixes) == len(at), "trainings of a stack mix clips all or none"
            batch["share"] = torch.stack(mixes)
        return batch

    def _draw(self, at: Sequence[At], features: Tensor) -> list[Tensor | None]:
        """Seed each training's stream, and draw from it what it would draw alone: noise, which changes its features, then dropout."""
        assert self.masks is not None
        for number, (trainer, (plan, step, _)) in enumerate(zip(self.trainers, at, strict=True)):
            stream = self._stream(plan.seeds[step])
            share = None if plan.mix is None else plan.mix[step]
            if share is not None or trainer.deviation is not None:
                features[number] = trainer.disturb(features[number], share, stream)
            self.masks.draw(number, stream)
        return self.masks.finish()

    def _stream(self, seed: int) -> torch.Generator | None:
        """Return the stream of a training's step: one of its own on a CPU, where others draw at the same time, else that of the device."""
        if self.device.type == "cpu":
            return self.generator.manual_seed(seed)
        seed_device(self.device, seed)
        return None

    def _assess(self, model: Mapping[str, Tensor], batch: dict[str, Any]) -> tuple[Tensor, Tensor]:
        """Return the loss of one training's batch, and what its step leaves behind."""
        weighting = self._weighting(batch)
        target = batch["target"]
        weight = summed_weight(weighting.class_weight, target, batch.get("votes"))
        assert self.masks is not None
        with self.draws.using([batch["masks"].get(number) for number in range(len(self.masks.values))]):
            return self._call(model, batch, weight, weighting)

    def _call(
        self, model: Mapping[str, Tensor], batch: Mapping[str, Any], weight: Tensor | int, weighting: Weighting
    ) -> Any:
        return functional_call(
            self.objective,
            dict(model),
            (batch["features"], batch["target"], batch["extras"]),
            {
                "votes": batch.get("votes"),
                "share": batch.get("share"),
                "weight": weight,
                "count": len(batch["target"]),
                "weighting": weighting,
            },
        )

    def _weighting(self, batch: Mapping[str, Any]) -> Weighting:
        smoothing = batch["smoothing"] if self.smoothing is None else self.smoothing
        found = Weighting(batch["terms"], smoothing, batch.get("class_weight"), temperature=batch["temperature"])
        return found._replace(focal=batch.get("focal"), adjustment=batch.get("adjustment"))

    @torch.no_grad()
    def _record_sites(self, batch: Mapping[str, Any]) -> None:
        """Ask each model that is new where it drops how much: it looks at its batch once, with copies of its buffers."""
        for number, trainer in enumerate(self.trainers):
            if trainer.sites is not None:
                continue
            model = {name: tensor[number].clone() for name, tensor in self.weights_and_buffers.items()}
            own: dict[str, Any] = {
                name: {key: value[number] for key, value in values.items()}
                if isinstance(values, dict)
                else values[number]
                for name, values in batch.items()
            }
            with self.draws.recording() as sites:
                functional_call(
                    trainer.objective,
                    model,
                    (own["features"], own["target"], own["extras"]),
                    {
                        "votes": own.get("votes"),
                        "share": own.get("share"),
                        "weight": summed_weight(trainer.class_weight, own["target"], own.get("votes")),
                        "count": len(own["target"]),
                        "weighting": trainer.weighting,
                    },
                )
            trainer.sites = tuple(sites)
        self.masks = Masks([trainer.sites or () for trainer in self.trainers], self.device)


def _stacked(models: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Return tensors with an axis of models, and let each model's own become views of them."""
    found = {}
    for name in models[0]:
        own = [model[name] for model in models]
        found[name] = torch.stack([tensor.detach() for tensor in own])
        for number, tensor in enumerate(own):
            tensor.data = found[name][number]
    return found


def _stacked_weighting(weightings: Sequence[Weighting], device: torch.device) -> dict[str, Any]:
    """Return how the losses of each training are put together, as tensors.  # (K,) or (K, C)"""
    wide = torch.float32 if device.type == "mps" else torch.float64  # as a number of Python is

    def tensor(values: list[Any]) -> Tensor:
        return torch.tensor(values, dtype=wide, device=device)

    found: dict[str, Any] = {
        "terms": {name: tensor([one.terms[name] for one in weightings]) for name in weightings[0].terms},
        "smoothing": tensor([one.smoothing for one in weightings]),
        "temperature": tensor([one.temperature for one in weightings]),
    }
    for name, stacked in (("class_weight", torch.stack), ("focal", tensor), ("adjustment", torch.stack)):
        values = [value for one in weightings if (value := getattr(one, name)) is not None]
        assert len(values) in (0, len(weightings)), f"trainings of a stack have {name} all or none"
        found |= {name: stacked(values)} if values else {}
    return found
