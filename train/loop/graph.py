"""A step on a GPU, recorded once and replayed: its hundreds of small kernels are then launched as one.

Not yet measured: off by default (`--set loop.graph=true`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

WARM = 3  # calls that run as they are: allocations and workspaces settle before anything is recorded


class GraphedStep:
    """A function of tensors whose shapes never change. It may change other tensors in place, but must not wait for the GPU."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._output: Tensor | None = None

    def __call__(self, *inputs: Tensor) -> Tensor:
        """Call the function; the result is overwritten by the next call."""
        if self._graph is None:
            self._calls += 1
            if self._calls <= WARM:
                return self._aside(*inputs)
            self._record(*inputs)
        assert self._graph is not None
        assert self._output is not None
        for own, new in zip(self._inputs, inputs, strict=True):
            own.copy_(new)
        self._graph.replay()
        return self._output

    def _aside(self, *inputs: Tensor) -> Tensor:
        """Run on another stream, as what is recorded later must have."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            output = self._function(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return output

    def _record(self, *inputs: Tensor) -> None:
        """Record the function on inputs of its own; recording computes nothing."""
        self._inputs = [tensor.clone() for tensor in inputs]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._output = self._function(*self._inputs)
