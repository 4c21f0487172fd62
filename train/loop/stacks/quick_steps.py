"""Steps of torch's Adam or AdamW without what `step` repeats for each parameter, which for a small model takes as long as the arithmetic.

The state stays that of the optimiser, and the kernel is the one that it would call.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from ....encoders.optimizers import without_compiler

# They are no public interface of torch: where one is missing, the optimiser steps by itself.
NAMES: dict[type[Optimizer], str] = {torch.optim.Adam: "_fused_adam_", torch.optim.AdamW: "_fused_adamw_"}
KERNELS: dict[type[Optimizer], Callable[..., None]] = {
    without_compiler(kind): getattr(torch, name) for kind, name in NAMES.items() if hasattr(torch, name)
}

Listed = tuple[dict[str, Any], Tensor, list[list[Tensor]]]  # a group, its steps, and what the kernel is given


class QuickSteps:
    """The steps of an optimiser whose gradients are written into the same tensors every time."""

    def __init__(self, optimizer: Optimizer) -> None:
        self.optimizer = optimizer
        self._state: Any = None  # of the optimiser, whose tensors are listed below
        self._lists: list[Listed] = []

    @staticmethod
    def possible(optimizer: Optimizer) -> bool:
        """Return whether this kernel is the one that the optimiser would call."""
        return type(optimizer) in KERNELS and all(
            group["fused"] and not group["capturable"] and not group["amsgrad"] for group in optimizer.param_groups
        )

    def forget(self) -> None:
        """Let the optimiser list its tensors again: gradients are others."""
        self._state = None

    @torch.no_grad()
    def __call__(self) -> None:
        """Take a step."""
        if self._state is not self.optimizer.state:  # the first step, or a state was loaded
            self.optimizer.step()
            self._state, self._lists = self.optimizer.state, self._listed()
            return
        for group, counts, (parameters, grads, means, squares, steps) in self._lists:
            counts += 1
            KERNELS[type(self.optimizer)](
                parameters,
                grads,
                means,
                squares,
                [],
                steps,
                lr=group["lr"],
                beta1=group["betas"][0],
                beta2=group["betas"][1],
                weight_decay=group["weight_decay"],
                eps=group["eps"],
                amsgrad=False,
                maximize=group["maximize"],
            )

    def _listed(self) -> list[Listed]:
        found = []
        for group in self.optimizer.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if not parameters:
                continue
            states = [self.optimizer.state[parameter] for parameter in parameters]
            counts = torch.stack([state["step"] for state in states])
            for state, count in zip(states, counts.unbind(), strict=True):
                state["step"] = count  # a view: all count in one operation
            lists = [[state[name] for state in states] for name in ("exp_avg", "exp_avg_sq", "step")]
            found.append((group, counts, [parameters, [parameter.grad for parameter in parameters], *lists]))
        return found
