"""Where the stages of a network are: families of torchvision and timm whose modules stand one behind the other, by the names of these.

A layout is tried before it is taken: it names every module with parameters, and of one picture it makes what the network itself makes.
Networks that none fits have no stages.

Legend: N frames, S side, C h w of a map, D width.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from ..tail import Step, pool

REFUSALS = (
    RuntimeError,
    AssertionError,
    ValueError,
    IndexError,
)  # what networks raise for pictures that they cannot take
TOLERANCE = 1e-4  # of the largest value: rounding alone may differ


@dataclass(frozen=True, kw_only=True)
class Layout:
    """A network as modules one behind the other."""

    stem: tuple[str, ...]
    stages: Mapping[str, tuple[str, ...]]
    rest: tuple[str, ...]  # from the last stage to the features

    def names_all(self, net: nn.Module) -> bool:
        """Return whether its modules are there, and hold all parameters."""
        names = (*self.stem, *(name for names in self.stages.values() for name in names), *self.rest)
        there = {name for name, _ in net.named_modules()}
        inside = tuple(f"{name}." for name in names)
        return there.issuperset(names) and all(name.startswith(inside) for name, _ in net.named_parameters())

    def last_stage(self, net: nn.Module) -> list[nn.Module]:
        """Return the modules of the last stage and of what follows it."""
        *_, last = self.stages.values()
        return _modules(net, (*last, *self.rest))

    def before(self, net: nn.Module) -> list[Step]:
        """Return a step for the stem, and one for each block of the stages but the last one.  # (N, 3, S, S) → (N, C, h, w)"""
        *stages, _ = self.stages.values()
        blocks = [block for names in stages for block in _blocks(net, names)]
        return [partial(through, _modules(net, self.stem)), *blocks]

    def last(self, net: nn.Module) -> list[Step]:
        """Return a step for each block of the last stage, and one for what follows.  # (N, C, h, w) → (N, D)"""
        *_, names = self.stages.values()
        return [*_blocks(net, names), partial(finish, _modules(net, self.rest))]


def numbered(pattern: str, numbers: Iterable[int]) -> dict[str, tuple[str, ...]]:
    """Return stages of one module each, named by a number."""
    return {name: (name,) for name in (pattern.format(number) for number in numbers)}


def paired(pattern: str) -> dict[str, tuple[str, ...]]:
    """Return four stages of modules by number, all but the first with one before it that makes the maps smaller."""
    pairs = {f"stage{stage}": (pattern.format(2 * stage - 2), pattern.format(2 * stage - 1)) for stage in (2, 3, 4)}
    return {"stage1": (pattern.format(1),), **pairs}


LAYERS = numbered("layer{}", range(1, 5))
LAYOUTS = (
    # ResNet, ResNeXt and Wide ResNet of torchvision; of timm
    Layout(stem=("conv1", "bn1", "relu", "maxpool"), stages=LAYERS, rest=("avgpool",)),
    Layout(stem=("conv1", "bn1", "act1", "maxpool"), stages=LAYERS, rest=("global_pool",)),
    # ConvNeXt of torchvision; of timm
    Layout(stem=("features.0",), stages=paired("features.{}"), rest=("avgpool", "classifier.0")),
    Layout(stem=("stem",), stages=numbered("stages.{}", range(4)), rest=("norm_pre", "head")),
    # EfficientNet of torchvision; of timm
    Layout(stem=("features.0",), stages=numbered("features.{}", range(1, 8)), rest=("features.8", "avgpool")),
    Layout(
        stem=("conv_stem", "bn1"),
        stages=numbered("blocks.{}", range(7)),
        rest=("conv_head", "bn2", "global_pool"),
    ),
    # Swin, RegNet and ShuffleNet of torchvision
    Layout(stem=("features.0",), stages=paired("features.{}"), rest=("norm", "permute", "avgpool")),
    Layout(stem=("stem",), stages=numbered("trunk_output.block{}", range(1, 5)), rest=("avgpool",)),
    Layout(stem=("conv1", "maxpool"), stages=numbered("stage{}", range(2, 5)), rest=("conv5",)),
)


@torch.no_grad()
def find_layout(net: nn.Module, side: int) -> Layout | None:
    """Return the layout that computes what a network does in evaluation, tried on one picture of noise."""
    known = [layout for layout in LAYOUTS if layout.names_all(net)]
    if not known:
        return None
    net = deepcopy(net).eval()
    noise = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
    picture = noise.to(next(net.parameters()))
    wanted = net(picture).float()
    return next((layout for layout in known if _computes(layout, net, picture, wanted)), None)


def _computes(layout: Layout, net: nn.Module, picture: Tensor, wanted: Tensor) -> bool:
    try:
        found = through([*layout.before(net), *layout.last(net)], picture)
    except REFUSALS:
        return False
    return found.shape == wanted.shape and bool((found - wanted).abs().max() <= TOLERANCE * wanted.abs().max())


def through(steps: Sequence[Step], x: Tensor) -> Tensor:
    """Take one step after the other."""
    for step in steps:
        x = step(x)
    return x


def finish(modules: Sequence[nn.Module], maps: Tensor) -> Tensor:
    """Take maps through what follows the last stage, and average over places where some are left.  # (N, C, h, w) → (N, D)"""
    rows = through(modules, maps)
    return pool(rows) if rows.ndim == 4 else rows.flatten(1).float()


def _modules(net: nn.Module, names: Iterable[str]) -> list[nn.Module]:
    return [net.get_submodule(name) for name in names]


def _blocks(net: nn.Module, names: Iterable[str]) -> list[nn.Module]:
    """Return the modules of a stage, of sequences their parts."""
    found: list[nn.Module] = []
    for module in _modules(net, names):
        found += list(module) if isinstance(module, nn.Sequential) else [module]
    return found
