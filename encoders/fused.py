"""ResNet-18 for inference on a processor: each convolution takes rectifier and shortcut along, its weights stand as oneDNN wants them.

The operations are torch's own, those that its compiler makes of such a network. Where a torch has none, or they do not give what the plain
modules give, the plain modules run: `why_not_fused` computes pictures both ways when an encoder is built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import first_line
from .backbone import PYRAMID_SIDE, Backbone, pool_to
from .resnet import Block
from .taps import STAGES

Fused = Callable[[], Mapping[str, Tensor]]

TRIAL = (2, 3, 64, 64)  # pictures of the trial
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.25, torch.float16: 0.03}  # of the deviation of a tap's numbers


class FusedConvolution:
    """One convolution with what follows it; its weights stand in the order that suits the first shape it sees."""

    def __init__(self, layer: nn.Conv2d) -> None:
        self._layer = layer
        self._packed: tuple[torch.Size, Tensor] | None = None

    def pack(self, shape: torch.Size) -> None:
        """Order the weights for inputs of a shape."""
        if self._packed is None or self._packed[0] != shape:
            layer = self._layer
            weight = torch.ops.mkldnn._reorder_convolution_weight(
                layer.weight, layer.padding, layer.stride, layer.dilation, layer.groups, list(shape)
            )
            self._packed = (shape, weight)

    def rectified(self, x: Tensor) -> Tensor:
        """Return relu(conv(x))."""
        return self._pointwise(x, "relu")

    def plain(self, x: Tensor) -> Tensor:
        """Return conv(x)."""
        return self._pointwise(x, "none")

    def added(self, x: Tensor, other: Tensor) -> Tensor:
        """Return relu(conv(x) + other), in the place of other."""
        return torch.ops.mkldnn._convolution_pointwise_.binary(other, *self._arguments(x), "add", 1.0, "relu", [], "")

    def _pointwise(self, x: Tensor, what: str) -> Tensor:
        return torch.ops.mkldnn._convolution_pointwise(*self._arguments(x), what, [], "")

    def _arguments(self, x: Tensor) -> tuple[Any, ...]:
        self.pack(x.shape)
        assert self._packed is not None
        layer = self._layer
        return x, self._packed[1], layer.bias, layer.padding, layer.stride, layer.dilation, layer.groups


class FusedBlock:
    """A block of ResNet-18."""

    def __init__(self, block: Block) -> None:
        self._first, self._second = FusedConvolution(block.conv1), FusedConvolution(block.conv2)
        self._around = None if block.downsample is None else FusedConvolution(cast("nn.Conv2d", block.downsample[0]))

    def __call__(self, x: Tensor) -> Tensor:
        """Take maps through it; where nothing lies on the way around, the sum takes the place of x."""
        y = self._first.rectified(x)
        return self._second.added(y, x if self._around is None else self._around.plain(x))


class FusedTrunk:
    """What `Backbone.taps` is, of a trunk without batch norms whose pixels are normalised already."""

    def __init__(self, folded: Backbone) -> None:
        self._stem = FusedConvolution(folded.conv1)
        self._stages = {name: [FusedBlock(block) for block in getattr(folded, name)] for name in STAGES}

    def taps(self, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Return what is asked for.  # (N, 3, H, W), channels last"""
        x = F.max_pool2d(self._stem.rectified(images), kernel_size=3, stride=2, padding=1)
        found: dict[str, Tensor] = {}
        scales = []
        for name, blocks in self._stages.items():
            for block in blocks:
                x = block(x)
            found[name] = x  # stays as it is: the first block of the next stage goes around by a convolution
            if "pyramid4x4" in names:
                scales.append(pool_to(x, PYRAMID_SIDE))
        found["gap"] = x.float().mean((2, 3))  # 49 numbers of bf16 are summed in fp32
        if scales:
            found["pyramid4x4"] = torch.cat(scales, dim=1)
        return {name: found[name] for name in names}


@torch.inference_mode()
def why_not_fused(folded: Backbone, dtype: torch.dtype) -> str:
    """Return why a trunk cannot run fused here; empty where it gives what its modules give."""
    images = torch.rand(TRIAL, generator=torch.Generator().manual_seed(0))
    images = images.to(dtype, memory_format=torch.channels_last)
    names = (*STAGES, "gap", "pyramid4x4")
    return why_different(folded.taps(images, names), lambda: FusedTrunk(folded).taps(images, names), dtype)


def why_different(expected: Mapping[str, Tensor], compute: Fused, dtype: torch.dtype) -> str:
    """Return why fused convolutions are of no use here: torch has none, or they give something else; empty where they are."""
    if not torch.backends.mkldnn.is_available():
        return "this torch is built without oneDNN"
    try:
        found = compute()
    except (RuntimeError, AttributeError, TypeError) as error:  # of other releases of torch, and of other processors
        return f"this torch has no such fused convolutions here ({first_line(error)})"
    for name in expected:
        one, other = expected[name].float(), found[name].float()
        error = float((one - other).abs().max() / one.std().clamp(min=1e-6))
        if not error <= TOLERANCE[dtype]:
            return f"fused convolutions differ from plain ones by {error:.2g} deviations in {name}"
    return ""
