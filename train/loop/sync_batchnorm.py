"""Batch norms whose statistics in training are those of the whole batch, over all processes that share it.

Each process brings count, mean and variance of its share; all merge them alike, in float64. Backward adds the two sums in which a value
of one share meets the values of all others; gradients of scale and shift are those of the own share, as for every other parameter.
Only training differs from torch: in evaluation, and where a batch norm is frozen so, it is torch's own that runs.

B clips or frames, C channels, P processes; statistics are over all axes but the channels'.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.modules.batchnorm import _BatchNorm

from ...errors import UsageError
from .world import World


def across(model: nn.Module, world: World) -> None:
    """Make a model's batch norms see whole batches.

    Each changes its class in place: parameters, buffers and names stay, and objects that hold one (an optimiser, a list of frozen ones)
    still hold the right one.
    """
    if world.size == 1:
        return
    for module in model.modules():
        if isinstance(module, _BatchNorm) and not isinstance(module, _Across) and not _stands_still(module):
            module.__class__ = KINDS[type(module)]
        if isinstance(module, _Across):
            module.world = world


def _stands_still(norm: _BatchNorm) -> bool:
    """Return whether a batch norm is of a kind that encoders bring and does not learn; refuse one that does."""
    if type(norm) in KINDS:
        return False
    if any(weight.requires_grad for weight in norm.parameters()):
        raise UsageError(
            f"Batch norms of the kind {type(norm).__name__} cannot learn in several processes.",
            remedy="--set finetune.batch_norm=frozen, or one process",
        )
    return True


class _Across(_BatchNorm):
    """A batch norm of a batch that several processes share."""

    world: World

    def forward(self, input: Tensor) -> Tensor:
        """Normalise by the whole batch in training.  # (B, C, …) → (B, C, …)"""
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        output, mean, var, count = Normalise.apply(input, self.weight, self.bias, self.eps, self.world)
        if self.track_running_stats:
            self._follow(mean, var, count)
        return output

    @torch.no_grad()
    def _follow(self, mean: Tensor, var: Tensor, count: Tensor) -> None:
        """Let the running statistics follow a batch."""
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        unbiased = var * (count / (count - 1).clamp(min=1))
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), share)


class AcrossBatchNorm1d(_Across, nn.BatchNorm1d):
    """One of (B, C) or (B, C, L)."""


class AcrossBatchNorm2d(_Across, nn.BatchNorm2d):
    """One of (B, C, H, W)."""


class AcrossBatchNorm3d(_Across, nn.BatchNorm3d):
    """One of (B, C, T, H, W)."""


KINDS: dict[type[_BatchNorm], type[_Across]] = {
    nn.BatchNorm1d: AcrossBatchNorm1d,
    nn.BatchNorm2d: AcrossBatchNorm2d,
    nn.BatchNorm3d: AcrossBatchNorm3d,
}


class Normalise(Function):
    """Subtract the mean, divide by the deviation, scale and shift; also gives the statistics: (B, C, …), (C,), (C,), ()."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, world: World
    ) -> tuple[Tensor, ...]:
        """Normalise a share."""
        kind = torch.promote_types(x.dtype, torch.float32)
        mean, var, count = whole_statistics(x.to(kind), world)
        output = F.batch_norm(x, mean.to(kind), var.to(kind), weight, bias, training=False, eps=eps)
        ctx.save_for_backward(x, weight, mean, var, count)
        ctx.eps, ctx.world = eps, world
        ctx.mark_non_differentiable(mean, var, count)
        return output, mean, var, count

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Any) -> tuple[Tensor | None, ...]:
        """Return the gradients of a share."""
        x, weight, mean, var, count = ctx.saved_tensors
        kind = torch.promote_types(x.dtype, torch.float32)
        axes, shape = _axes(x), (1, -1, *[1] * (x.dim() - 2))
        grad = grad.to(kind)
        centred = x - mean.to(kind).view(shape)
        inverse = (var + ctx.eps).rsqrt()  # (C,)
        sums = torch.stack([grad.sum(axes), (grad * centred).sum(axes)]).double()  # (2, C)
        for_weight = (sums[1] * inverse).to(weight.dtype) if ctx.needs_input_grad[1] else None
        for_bias = sums[0].to(weight.dtype) if ctx.needs_input_grad[2] else None
        if not ctx.needs_input_grad[0]:
            return None, for_weight, for_bias, None, None
        totals = sums.clone()  # the own share's may be the gradient of the shift already
        ctx.world.add([totals])
        level, slope = totals / count  # what each value of the whole batch moves mean and variance by
        slope = slope * inverse.square()
        scale = inverse if weight is None else inverse * weight
        level, slope, scale = (factor.to(kind).view(shape) for factor in (level, slope, scale))
        for_input = centred.mul_(-slope).add_(grad).sub_(level).mul_(scale)
        return for_input.to(x.dtype), for_weight, for_bias, None, None


def whole_statistics(x: Tensor, world: World) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance and number of a channel's values over all processes, in float64.  # (B, C, …) → (C,), (C,), ()"""
    channels = x.shape[1]
    table = x.new_zeros((world.size, 1 + 2 * channels), dtype=torch.float64)  # each process fills its row
    if x.numel():  # a share may be empty
        var, mean = torch.var_mean(x, _axes(x), correction=0)
        table[world.rank, 0] = x.numel() // channels
        table[world.rank, 1:] = torch.cat([mean, var])
    world.add([table])
    counts, means, variances = table.split([1, channels, channels], dim=1)  # (P, 1), (P, C), (P, C)
    count = counts.sum()
    mean = (counts * means).sum(0) / count
    var = (counts * (variances + (means - mean).square())).sum(0) / count
    return mean, var, count


def _axes(x: Tensor) -> list[int]:
    """Return all axes but the channels'."""
    return [axis for axis in range(x.dim()) if axis != 1]
