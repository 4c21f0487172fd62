"""Which trainings can be one stack, and where that is faster than one after another.

The rule is measured on a CPU (benchmarks/many.py, docs/benchmarks.md): a stack wins where calling the operations of a step takes as long as
computing them: not of large models, nor of small ones whose clips are many tokens. On a GPU nothing is measured yet. `--stack on` stacks
wherever that is possible, `--stack off` always trains alone.
"""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any

import torch

from ....encoders.precision import Precision
from ...config.config import TrainConfig
from ...models.registry import describe_model

TOGETHER = 16  # trainings of a stack
SMALL_ON_CPU = 1_000_000  # parameters of a model up to which stacks win on a CPU,
LIGHT_ON_CPU = 100_000_000  # and MACs of a clip
# Names in torch._C._functorch that linear.py calls: they are no public interface, so another torch may lack them.
OF_VMAP = ("maybe_current_level", "is_batchedtensor", "get_unwrapped", "maybe_get_bdim", "_add_batch_dim")


def why_alone(config: TrainConfig, *, precision: Precision, processes: int = 1) -> str:
    """Return why trainings of a configuration cannot be stacked; empty when they can."""
    loop = config.loop
    reasons = {
        f"the model {config.model.name} cannot be stacked": config.model.own_in_stack is None,
        "the backbone learns": config.finetune.on,
        "several processes share each batch": processes > 1,
        "loop.accumulate takes batches in parts": loop.accumulate > 1,
        "loop.graph replays the step of one model": loop.graph,
        f"torch {torch.__version__} lacks what stacks are written with": not _vmap_is_known(),
        "fp16 has a scale of the loss for each model": precision == "fp16",
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def shape_of(config: TrainConfig) -> tuple[Any, ...]:
    """Return what trainings of a stack have in common besides clips and classes."""
    model, own = config.model, config.model.own_in_stack or ()
    common = {item.name: getattr(model, item.name) for item in fields(model) if item.name not in own}
    data, loss = config.data, config.loss
    return (
        model.name,
        tuple(sorted((name, str(value)) for name, value in common.items())),
        config.loop.batch,
        tuple(sorted((name, str(value)) for name, value in asdict(config.sampling).items())),
        (bool(data.mixup), data.class_weights or bool(loss.effective_number), data.votes),
        (bool(loss.focal), bool(loss.adjustment), tuple(loss.terms)),
    )


def num_together(
    config: TrainConfig,
    *,
    width: int,
    num_classes: int,
    device: torch.device,
    precision: Precision,
    maps: tuple[int, ...] = (),
    processes: int = 1,
) -> tuple[int, str]:
    """Return how many trainings are stacked at most, 1 where one after another is faster, and why in words."""
    if config.loop.stack == "off":
        return 1, "one training after another (--stack off)"
    if why := why_alone(config, precision=precision, processes=processes):
        return 1, f"one training after another: {why}"
    described = describe_model(config.model, width, num_classes, maps)
    parameters = described.parameters
    size = f"{parameters / 1e6:.2g} M parameters"
    if config.loop.stack == "auto" and device.type != "cpu":
        return 1, f"one training after another: stacks are not measured on {device.type} yet (--stack on)"
    if config.loop.stack == "auto" and parameters > SMALL_ON_CPU:
        return 1, f"one training after another: stacks of models of {size} gain little on a CPU (--stack on)"
    if config.loop.stack == "auto" and described.macs > LIGHT_ON_CPU:
        cost = f"{described.macs / 1e6:.0f} M multiplications a clip"
        return 1, f"one training after another: stacks of models of {cost} gain little on a CPU (--stack on)"
    return (
        TOGETHER,
        f"up to {TOGETHER} trainings at once as one stacked model of {size} each (--stack off trains alone)",
    )


def _vmap_is_known() -> bool:
    """Return whether this torch has what linear.py calls."""
    inside = getattr(torch._C, "_functorch", None)
    return all(hasattr(inside, name) for name in OF_VMAP)
