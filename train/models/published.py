"""Published weights of a model that learns from crops."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class Published:
    """Tensors by the model's names, without its classifier's."""

    tensors: dict[str, Tensor]
    digest: str
    licence: str
