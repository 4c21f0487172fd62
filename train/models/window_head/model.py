"""A head on windows: their features, kind by kind → logits of the classes, by a stem and two branches that all kinds share.

Each kind of windows goes the same way: convolutions, layers, twice the half of the windows, and the mean. The kind whose windows stand
closest together is learnt and decides; the others learn to say what it says. PTH-Net adds a second model on videos played backwards, which
is another cache here. As there, a clip with few windows is filled up with zeros, which count in means: what a clip gets follows from its
own windows alone.

B clips, n kinds, J places, T windows of a kind, D feature width, d width, C classes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ....errors import UsageError
from ..contract import CLASSES, EMBEDDING
from ..model import Batch, Model, wide
from ..scaling import Scaling
from ..unfilled import Linear
from .config import Config
from .layer import EPS, LAYER_SCALE, Around, Convolution, Layer, halved

AGREEMENT = "agreement"  # the loss of the other kinds


class Output(NamedTuple):
    """What the model says; float32 under autocast too."""

    expression: Tensor  # (B, C), of the first kind
    embedding: Tensor  # (B, d), what the classifier reads of it
    others: Tensor  # (B, n − 1, C), of the other kinds


class WindowHead(Model):
    """Layers over windows that kinds share."""

    config: Config

    def __init__(
        self, config: Config, *, width: int, num_classes: int, generator: torch.Generator | None = None
    ) -> None:
        super().__init__()
        self.config, self.width, self.num_classes = config, width, num_classes
        self.scaling = Scaling(width)
        dim = config.embed_width
        sizes: dict[str, Any] = {
            "kinds": config.num_kinds,
            "heads": config.att_heads,
            "hidden": config.mlp_width,
            "groups": config.norm_groups,
        }
        self.embed = nn.ModuleList(Convolution(dim if number else width, dim) for number in range(config.embed_layers))
        self.embed_norm = nn.ModuleList(nn.LayerNorm(dim, eps=EPS) for _ in range(config.embed_layers))
        self.stem = nn.ModuleList(Layer(dim, kernel=1, **sizes) for _ in range(config.stem_layers))
        self.branches = nn.ModuleList(
            nn.ModuleList(
                Layer(dim, kernel=3, drop=config.path_dropout, scaled=True, **sizes)
                for _ in range(config.branch_layers)
            )
            for _ in range(2)
        )
        self.classifier = Linear(dim, num_classes)
        _draw(self, generator)

    @property
    def terms(self) -> dict[str, float]:
        """Return the losses of the first kind, and of the others against it."""
        both = self.config.agree_weight and self.config.num_kinds > 1
        return {CLASSES: 1.0, AGREEMENT: self.config.agree_weight} if both else {CLASSES: 1.0}

    def forward(self, batch: Batch) -> Output:
        """Classify clips.  # (B, n, J, D), (B, n, J) → (B, C)"""
        features, kinds = batch["features"], self.config.num_kinds
        if features.ndim != 4 or features.shape[1] != kinds or features.shape[3] != self.width:
            found = tuple(features.shape)
            raise UsageError(f"Features are (clips, {kinds} kinds, windows, {self.width} channels), found {found}.")
        pooled = [
            self._pooled(features[:, kind, :places], batch["mask"][:, kind, :places], kind)
            for kind, places in enumerate(self.config.each)
        ]
        logits = [wide(self.classifier(one)) for one in pooled]
        others = torch.stack(logits[1:], 1) if kinds > 1 else logits[0][:, None][:, :0]
        return Output(expression=logits[0], embedding=wide(pooled[0]), others=others)

    def explain(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the classifier reads of the first kind."""
        return {EMBEDDING: self(batch).embedding}

    def losses(
        self,
        output: Output,
        target: Tensor,
        batch: Batch,
        *,
        weight: Tensor | None,
        smoothing: float | Tensor,
        focal: float | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Return the loss of the classes, and the divergence of the other kinds from what the first one says, which stays as it is."""
        found = super().losses(output, target, batch, weight=weight, smoothing=smoothing, focal=focal)
        if AGREEMENT not in self.terms:
            return found
        said = wide(output.expression).detach().log_softmax(1)[:, None]
        divergence = said.exp() * (said - wide(output.others).log_softmax(2))
        return found | {AGREEMENT: divergence.sum()}

    def _pooled(self, features: Tensor, mask: Tensor, kind: int) -> Tensor:
        """Return the mean over the places of a kind.  # (B, T, D), (B, T) → (B, d)"""
        there = mask[..., None]
        x = self.scaling(features) * there.to(features.dtype)
        for convolution, norm in zip(self.embed, self.embed_norm, strict=True):
            x = torch.relu(norm(convolution(x) * there.to(x.dtype)))
        for layer in self.stem:
            x = layer(x, mask, kind)
        for branch in self.branches:
            assert isinstance(branch, nn.ModuleList)
            x, mask = halved(x, mask)
            for layer in branch:
                x = layer(x, mask, kind)
        return (x * mask[..., None].to(x.dtype)).mean(1)


@torch.no_grad()
def _draw(model: WindowHead, generator: torch.Generator | None) -> None:
    """Draw weights as torch's convolutions do, U(±1 / √fan_in); biases are 0."""
    for module in model.modules():
        if isinstance(module, nn.Linear):
            module.weight.uniform_(*_bounds(module.in_features), generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, Around):
            module.weight.uniform_(*_bounds(len(module.weight)), generator=generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, Layer) and module.scale_mixed is not None and module.scale_fed is not None:
            module.scale_mixed.fill_(LAYER_SCALE)
            module.scale_fed.fill_(LAYER_SCALE)


def _bounds(inputs: int) -> tuple[float, float]:
    return -1 / math.sqrt(inputs), 1 / math.sqrt(inputs)


def facts(config: Config, seeds: Iterable[int]) -> dict[str, Any]:
    """Return what a run records of its models besides their settings: nothing."""
    return {}


def build(config: Config, *, width: int, num_classes: int, seed: int) -> WindowHead:
    """Draw starting values by a seed, from a generator of its own."""
    return WindowHead(config, width=width, num_classes=num_classes, generator=torch.Generator().manual_seed(seed))
