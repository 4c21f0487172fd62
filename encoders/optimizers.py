"""Optimisers of torch that do not import torch's compiler.

torch marks methods of its optimisers as not to be compiled, and each of them imports the compiler (`torch._dynamo`, with sympy and
`torch._inductor`: a thousand modules, seconds) when it is first called, although nothing is compiled. The classes made here call the
methods behind those marks: arithmetic, state and its names are torch's, to the bit.
"""

from __future__ import annotations

from functools import cache
from inspect import unwrap
from typing import Any, TypeVar

import torch
from torch.optim import Optimizer

Kind = TypeVar("Kind", bound=Optimizer)
MARKED = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


@cache
def without_compiler(kind: type[Kind]) -> type[Kind]:
    """Return a class of torch's optimiser whose methods are those behind the marks."""
    behind: dict[str, Any] = {name: unwrap(getattr(kind, name)) for name in MARKED}
    take_step = unwrap(kind.step)

    @torch.no_grad()
    def step(self: Kind, closure: Any = None) -> Any:
        """Take a step; no step is differentiated here."""
        return take_step(self, closure)

    made: Any = type(kind.__name__, (kind,), {**behind, "step": step})
    return made
