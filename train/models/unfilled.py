"""Layers and models that are created without values: a model draws those of its layers itself, and one that is only counted needs none.

The device meta, and `nn.utils.skip_init` with it, would do the same, but torch's code for it imports torch's compiler or sympy,
which takes longer than building a model.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from .products import linear

DRAWS = ("uniform", "normal")


class Linear(nn.Linear):
    """A linear layer whose values are drawn by the model that it is a part of, once and in one place."""

    def reset_parameters(self) -> None:
        """Draw nothing."""

    def forward(self, input: Tensor) -> Tensor:
        """Return x Wᵀ + b.  # (…, I) → (…, O)"""
        return linear(input, self.weight, self.bias)


class Unfilled(TorchFunctionMode):
    """Leaves what would be filled with drawn values as it is, in models that are counted: untouched memory is not allocated."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer a call of torch: of a method, or of a function of torch.nn.init."""
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name.endswith("_") and any(draw in name for draw in DRAWS):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
