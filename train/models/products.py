"""Products of linear layers in training, by oneDNN where torch's own are slow.

torch multiplies fp32 matrices on a processor by MKL, which on AMD's uses AVX2 whatever they have. oneDNN uses AVX-512: twice the rate
(`benchmarks/step.py`). What differs is the order in which sums are computed, so results agree to rounding. Intel's processors, others
without AVX-512, and everything that is no training in fp32 keep torch's products.

Legend: M rows of an input, I and O features in and out.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C import _functorch as functorch  # what torch.vmap is written with
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from ...encoders.precision import onednn_limit

SMALLEST = 3_000_000  # multiplications of a product, below which calls cost as much as is gained


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x Wᵀ + b.  # (…, I), (O, I), (O,) → (…, O)"""
    if _learns_here(x, weight) and onednn_is_faster():
        return OneDNN.apply(x, weight, bias)
    return F.linear(x, weight, bias)


class OneDNN(Function):
    """A linear layer whose three products (output, gradients of input and weight) are oneDNN's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """Return the output.  # (…, I) → (…, O)"""
        ctx.save_for_backward(x, weight)
        return onednn_product(x, weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of input, weight and bias.  # (…, O)"""
        x, weight = ctx.saved_tensors
        for_x, for_weight, for_bias = ctx.needs_input_grad
        rows = grad.reshape(-1, grad.shape[-1])  # (M, O)
        return (
            onednn_product(grad, weight.t()) if for_x else None,
            # transposed in memory first: of transposed views, oneDNN takes up to four times as long
            onednn_product(rows.t().contiguous(), x.reshape(-1, x.shape[-1]).t().contiguous()) if for_weight else None,
            rows.sum(0) if for_bias else None,
        )


def onednn_product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return x Wᵀ + b by the operation that torch's compiler puts in place of a linear layer."""
    return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, "none", [], "")


def _learns_here(x: Tensor, weight: Tensor) -> bool:
    """Return whether this is a product in fp32 on a processor, large enough, that is learnt from, and of one model.

    torch's compiler chooses products by itself, and must not trace the choice that is made here.
    """
    return (
        not torch.compiler.is_compiling()
        and x.dtype == weight.dtype == torch.float32
        and x.device.type == "cpu"
        and x.numel() * weight.shape[0] >= SMALLEST
        and weight.requires_grad
        and torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and functorch.maybe_current_level() is None
    )


@cache
def onednn_is_faster() -> bool:
    """Return whether torch's MKL leaves AVX-512 unused here, and oneDNN does not: its own limit may forbid it."""
    about = getattr(torch.cpu, "get_capabilities", dict)()
    return (
        str(about.get("cpu_name")).startswith("AMD")
        and bool(about.get("avx512_f"))
        and onednn_limit("avx512") is None
        and torch.backends.mkl.is_available()
        and torch.backends.mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )
