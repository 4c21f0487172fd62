"""The optimiser of a training, and its learning rate from epoch to epoch."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ...encoders.optimizers import without_compiler
from ..config.config import LoopConfig


def build_optimizer(groups: list[dict[str, Any]], loop: LoopConfig, device: torch.device) -> Optimizer:
    """Build the optimiser that is asked for, by the fused kernels of the device where it has them."""
    rate = torch.tensor(loop.learning_rate, device=device) if loop.graph else loop.learning_rate
    shared: dict[str, Any] = {"lr": rate, "weight_decay": loop.weight_decay, "fused": device.type != "mps"}
    match loop.optimizer:
        case "sgd":
            optimizer: Optimizer = without_compiler(torch.optim.SGD)(groups, momentum=loop.momentum, **shared)
        case "adamw":
            optimizer = without_compiler(torch.optim.AdamW)(groups, capturable=loop.graph, **shared)
        case "adam":
            optimizer = without_compiler(torch.optim.Adam)(groups, capturable=loop.graph, **shared)
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"] = group["lr"].clone()  # filled in place, by each group's own share
    return optimizer


def learning_rate(loop: LoopConfig, epoch: int) -> float:
    """Return the rate of an epoch: a linear rise over the warm-up, then half a cosine over the rest, steps, or no change."""
    if epoch < loop.rise:
        return loop.learning_rate * (epoch + 1) / loop.rise
    match loop.schedule:
        case "constant":
            return loop.learning_rate
        case "step":
            return loop.learning_rate * loop.step_factor ** (epoch // loop.step_epochs)
        case "cosine":
            done = (epoch - loop.rise) / (loop.epochs - loop.rise)
            return loop.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
