"""Every starting value of the model, in one place and from one generator.

- every matrix of the Transformer: kaiming-uniform, U(±√(6 / fan_in)), as the paper's code has it
- other linear layers (heads, projection, SE gate, AA-SFE's output projection): torch's default, U(±1 / √fan_in)
- AA-SFE's packed input projection: xavier-uniform over the packed matrix, torch's default
- biases of linear layers: torch's default, U(±1 / √fan_in); of attention: 0
- the emotion query: N(0, 1), as an embedding; norms: 1 and 0, as they are born
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import nn

from .attention import Attention
from .transformer import Transformer


class WithTransformer(Protocol):
    """EST, or another model with its Transformer and its query."""

    transformer: Transformer
    query: nn.Parameter

    def modules(self) -> Iterator[nn.Module]:
        """Yield all modules."""
        ...


@torch.no_grad()
def initialise(model: WithTransformer, generator: torch.Generator | None = None) -> None:
    """Draw all values, in the order of the modules."""
    transformer = set(model.transformer.modules())
    for module in model.modules():
        if isinstance(module, Attention):
            if module in transformer:
                nn.init.kaiming_uniform_(module.in_proj_weight, generator=generator)
            else:
                nn.init.xavier_uniform_(module.in_proj_weight, generator=generator)
            nn.init.zeros_(module.in_proj_bias)
        elif isinstance(module, nn.Linear):
            slope = 0 if module in transformer else 5**0.5  # √5 is how torch spells 1 / √fan_in
            nn.init.kaiming_uniform_(module.weight, a=slope, generator=generator)
            bound = module.in_features**-0.5
            nn.init.uniform_(module.bias, -bound, bound, generator=generator)
    for module in model.modules():
        if isinstance(module, Attention):
            nn.init.zeros_(module.out_proj.bias)
    nn.init.normal_(model.query, generator=generator)
