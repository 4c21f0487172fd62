"""Dropout in a stack of models: each model draws from its own random stream what it would draw alone.

Inside `torch.vmap` a single call of `F.dropout` stands for that of all models. `OwnDraws` answers it, and the dropout of attention
weights, with masks that were drawn before: for each model from a seed of its own, site after site, with the calls that torch makes.
On a CPU the masks are the same bits as those of a model alone. On a GPU those of `F.dropout` are; fused attention draws inside its
kernel, where nothing can follow it.

Legend: K models of the stack.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode


@dataclass(frozen=True, kw_only=True)
class Site:
    """A call of dropout: what it is given, and how much it drops."""

    shape: tuple[int, ...]
    stride: tuple[int, ...]
    dtype: torch.dtype
    rate: float

    @property
    def contiguous(self) -> bool:
        """Return whether numbers lie in the order of their places."""
        return torch.empty(self.shape, device="meta").stride() == self.stride


class OwnDraws(TorchFunctionMode):
    """Answers calls of dropout while it is entered: by nothing while sites are recorded, else by the masks that it is given."""

    def __init__(self, linear: Callable[..., Tensor] = F.linear) -> None:
        super().__init__()
        self._linear = linear
        self._sites: list[Site] = []
        self._masks: Sequence[Tensor | None] | None = None
        self._next = 0

    @contextmanager
    def recording(self) -> Generator[list[Site]]:
        """Note the sites that are passed; nothing is drawn or dropped."""
        self._sites, self._masks = [], None
        with self:
            yield self._sites

    @contextmanager
    def using(self, masks: Sequence[Tensor | None]) -> Generator[None]:
        """Multiply by the masks, one a site; where there is none, no model drops anything."""
        self._masks, self._next = masks, 0
        with self:
            yield
        assert self._next == len(masks), f"{len(masks)} sites of dropout were recorded, and {self._next} passed"

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Answer a call of torch."""
        kwargs = kwargs or {}
        if func is F.linear:
            return self._linear(*args, **kwargs)
        if func is F.batch_norm and args[0].dtype != torch.float32 and torch.is_autocast_enabled(args[0].device.type):
            # torch.vmap has no batch norm of bf16 values with fp32 statistics
            return func(args[0].float(), *args[1:], **kwargs).to(args[0].dtype)
        if func is F.dropout:
            return self._dropout(*args, **kwargs)
        if func is F.scaled_dot_product_attention:
            return self._attention(*args, **kwargs)
        return func(*args, **kwargs)

    def _dropout(self, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        return self._site(x, p) if training else x  # where this model drops nothing, another may

    def _attention(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
    ) -> Tensor:
        """Compute attention step by step, as torch does on a CPU where there is dropout."""
        assert not is_causal, "a causal mask is passed as attn_mask"
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        with torch.autocast(query.device.type, enabled=False):
            scores = (query * scale) @ key.transpose(-2, -1)
            if attn_mask is not None and attn_mask.dtype == torch.bool:
                scores = scores.masked_fill(~attn_mask, float("-inf"))
            elif attn_mask is not None:
                scores = scores + attn_mask
            weights = scores.softmax(-1)
            return self._site(weights, dropout_p) @ value

    def _site(self, x: Tensor, rate: float) -> Tensor:
        if self._masks is None:
            like = torch.empty_like(x)
            self._sites.append(Site(shape=tuple(like.shape), stride=like.stride(), dtype=like.dtype, rate=float(rate)))
            return x
        mask = self._masks[self._next]
        self._next += 1
        return x if mask is None else x * mask


class Masks:
    """What a stack drops in a step: a tensor a site, filled again by each model from its own stream; nothing where no model drops."""

    def __init__(self, sites: Sequence[Sequence[Site]], device: torch.device) -> None:
        first = sites[0]
        for other in sites:
            same = [(a.shape, a.dtype) for a in other] == [(a.shape, a.dtype) for a in first]
            assert same, "models of a stack drop at the same places"
        self.device, self.sites = device, sites
        self.values: list[Tensor | None] = []
        self._slices: list[Sequence[Tensor]] = []
        self._kept: list[Tensor] = []  # (K, 1, …) how much each model keeps
        for place, site in enumerate(first):
            rates = [own[place].rate for own in sites]
            drops = any(rates)
            mask = torch.ones(len(sites), *site.shape, dtype=site.dtype, device=device) if drops else None
            kept = torch.tensor([1 - rate for rate in rates], dtype=torch.float64).to(device, site.dtype)
            self.values.append(mask)
            self._slices.append(mask.unbind(0) if mask is not None else ())
            self._kept.append(kept.view(-1, *[1] * len(site.shape)))

    def draw(self, number: int, stream: torch.Generator | None) -> None:
        """Draw those of a model from a stream as it stands, or that of the device, as its own calls of dropout would."""
        for slices, site in zip(self._slices, self.sites[number], strict=True):
            if not site.rate:  # alone nothing would be drawn
                continue
            own = slices[number]
            if self.device.type != "cpu":
                ones = torch.ones(site.shape, dtype=site.dtype, device=self.device)
                own.copy_(F.dropout(ones, site.rate, training=True))
            elif site.contiguous:
                own.bernoulli_(1 - site.rate, generator=stream)
            else:
                there = torch.empty_strided(site.shape, site.stride, dtype=site.dtype)
                own.copy_(there.bernoulli_(1 - site.rate, generator=stream))

    def finish(self) -> list[Tensor | None]:
        """Return the masks of all models, what is kept turned up by what is dropped.  # (K, …) a site"""
        if self.device.type == "cpu":
            for mask, kept in zip(self.values, self._kept, strict=True):
                if mask is not None:
                    mask.div_(kept)  # ones, where a model drops nothing, stay ones
        return self.values
