"""Linear layers of a stack of models: products over the axis of models, and the gradients of weights and biases.

`torch.vmap` computes a weight's gradient transposed, and adds to it at each use: a recurrence over 75 frames writes the gradient of its
weight 75 times. Here autograd ends at the outputs of layers. After the backward pass the gradient of a weight is one product of the
gradients of all its outputs and all its inputs, written to where the optimiser reads it.

Legend: K models of the stack, M rows of an input, I and O features in and out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch._C import _functorch as functorch  # what torch.vmap is written with


class Place(NamedTuple):
    """A part of a tensor of weights: its name, and where the numbers of the first model begin and end."""

    name: str
    first: int
    end: int


class Linears:
    """Answers `F.linear` inside `torch.vmap`, and fills gradients afterwards."""

    def __init__(self, weights: Mapping[str, Tensor], grads: Mapping[str, Tensor]) -> None:
        self.grads = grads
        self._names = {weights[name].untyped_storage().data_ptr(): name for name in grads}
        # outputs have gradients because of it, where nothing before them learns
        device = next(iter(weights.values())).device
        self._root = torch.zeros(1, 1, 1, device=device, requires_grad=True)
        self.outputs: list[Tensor] = []  # (K, M, O) each
        self._products: dict[Place, list[tuple[Tensor, int]]] = {}  # of a weight: inputs (K, M, I), numbers of outputs
        self._sums: dict[Place, list[int]] = {}  # of a bias: numbers of outputs
        self._views: dict[Place, Tensor] = {}  # where their gradients go

    def clear(self) -> None:
        """Forget what was computed."""
        self.outputs = []
        self._products, self._sums = {}, {}

    def __call__(self, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        """Multiply by the weight of each model.  # (…, I) → (…, O) of each"""
        rows, matrix = _models_first(x), _models_first(weight)
        place = None if matrix is None or matrix.ndim != 3 else self._place(matrix, self._products)
        added = None if bias is None else _models_first(bias)
        if rows is None or rows.ndim < 3 or matrix is None or place is None or (added is None) != (bias is None):
            return F.linear(x, weight, bias)
        flat = rows.flatten(1, -2)
        if added is None:
            y = torch.baddbmm(self._root.to(flat.dtype), flat, matrix.detach().mT, beta=0)
        else:
            own = self._place(added, self._sums)
            if own is not None:
                self._sums.setdefault(own, []).append(len(self.outputs))
                added = added.detach() if flat.requires_grad else added.detach() + self._root.view(1)
            y = torch.baddbmm(added.unsqueeze(1), flat, matrix.detach().mT)
        self._products.setdefault(place, []).append((flat.detach(), len(self.outputs)))
        self.outputs.append(y)
        level = functorch.maybe_current_level()
        assert level is not None
        return functorch._add_batch_dim(y.view(*rows.shape[:-1], y.shape[-1]), 0, level)

    def fill(self, at_outputs: Sequence[Tensor | None], by_autograd: Mapping[str, Tensor | None]) -> set[str]:
        """Write all gradients, from those of the outputs and those that autograd found itself; return the names that have one."""
        found = {name: grad for name, grad in by_autograd.items() if grad is not None}
        if found:
            torch._foreach_copy_([self.grads[name] for name in found], list(found.values()))
        for place, uses in self._products.items():
            pairs = [(x, grad) for x, number in uses if (grad := at_outputs[number]) is not None]
            inputs, grads = (_joined(list(some)) for some in zip(*pairs, strict=True)) if pairs else (None, None)
            if inputs is None or grads is None:
                continue
            view, turned, inputs = self._views[place], grads.mT, inputs.to(grads.dtype)
            if place.name in found:
                view += turned @ inputs
            elif view.dtype == grads.dtype:
                torch.bmm(turned, inputs, out=view)
            else:
                view.copy_(turned @ inputs)
        for place, numbers in self._sums.items():
            some = [grad for number in numbers if (grad := at_outputs[number]) is not None]
            if not some:
                continue
            view = self._views[place]
            if place.name in found:
                view += _joined(some).sum(1)
            else:
                torch.sum(_joined(some), 1, dtype=view.dtype, out=view)
        return {*found, *(place.name for place in (*self._products, *self._sums))}

    def _place(self, part: Tensor, uses: Mapping[Place, object]) -> Place | None:
        """Return which weights these are: None if they do not learn, or overlap with a part that is noted."""
        name = self._names.get(part.untyped_storage().data_ptr())
        if name is None or not part[0].is_contiguous():
            return None
        first = int(part.storage_offset())
        place = Place(name, first, first + part[0].numel())
        if place in uses:
            return place
        if any(other.name == name and first < other.end and other.first < place.end for other in uses):
            return None
        if place not in self._views:
            self._views[place] = self.grads[name].as_strided(part.shape, part.stride(), first)
        return place


def _models_first(x: Tensor) -> Tensor | None:
    """Return the values of all models; None of what `torch.vmap` shares between them.  # (K, …)"""
    if not functorch.is_batchedtensor(x):
        return None
    values, at = functorch.get_unwrapped(x), functorch.maybe_get_bdim(x)
    return values if at == 0 else values.movedim(at, 0)


def _joined(some: list[Tensor]) -> Tensor:
    """Join rows.  # (K, M, …) each → (K, rows, …)"""
    return some[0] if len(some) == 1 else torch.cat(some, 1)
