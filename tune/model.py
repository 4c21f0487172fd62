"""A frame encoder with a linear head on its pooled features: what learns to tell expressions apart on single frames.

Before the first step batch norms that learn take the statistics of training frames; those of the start's pictures are no use to them. The
head sees each feature less its mean and over its deviation, both taken once of what the encoder then makes of these frames: encoders
differ in scale by orders of magnitude, and features of faces differ from each other far less than from zero.

Legend: B frames, S side, D feature width, C classes.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import Tensor, nn

from ..encoders.backbone import FrameEncoder, norms_of

SMALL = 0.01  # deviation of the head's first weights: first guesses are nearly even
EPSILON = 1e-6


class FrameClassifier(nn.Module):
    """An encoder and its head."""

    mean: Tensor  # (D,)
    deviation: Tensor  # (D,)

    def __init__(
        self, encoder: FrameEncoder, num_classes: int, *, batch_norm: Literal["train", "frozen"], seed: int
    ) -> None:
        super().__init__()
        self.encoder, self.batch_norm = encoder.requires_grad_(True), batch_norm
        self.head = nn.Linear(encoder.width, num_classes)
        nn.init.normal_(self.head.weight, std=SMALL, generator=torch.Generator().manual_seed(seed))
        nn.init.zeros_(self.head.bias)
        self.register_buffer("mean", torch.zeros(encoder.width))
        self.register_buffer("deviation", torch.ones(encoder.width))
        if batch_norm == "frozen":
            for norm in norms_of(encoder):
                norm.requires_grad_(False)

    def train(self, mode: bool = True) -> FrameClassifier:
        """Enter training or evaluation; batch norms that stand still stay in evaluation."""
        super().train(mode)
        if self.batch_norm == "frozen":
            for norm in norms_of(self.encoder):
                norm.eval()
        return self

    def groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters that learn, of the encoder and of the head."""
        return [weight for weight in self.encoder.parameters() if weight.requires_grad], list(self.head.parameters())

    def forward(self, pictures: Tensor) -> Tensor:
        """Return logits.  # (B, S, S, 3) uint8 RGB → (B, C) float32"""
        return self.head((self.features(pictures) - self.mean) / self.deviation).float()

    def features(self, pictures: Tensor) -> Tensor:
        """Return what the encoder makes of pictures.  # (B, S, S, 3) uint8 RGB → (B, D) float32"""
        return self.encoder(pictures.permute(0, 3, 1, 2).float().div_(255)).float()

    @contextmanager
    def gathering_statistics(self) -> Generator[None]:
        """Let batch norms that learn forget the pictures of before, and take the mean statistics of what they see in the block."""
        learning = [norm for norm in norms_of(self.encoder) if self.batch_norm == "train"]
        momenta = [norm.momentum for norm in learning]
        self.train()
        for norm in learning:
            norm.reset_running_stats()
            norm.momentum = None  # all batches count alike
        try:
            yield
        finally:
            for norm, momentum in zip(learning, momenta, strict=True):
                norm.momentum = momentum

    def fit_scale(self, features: Tensor) -> None:
        """Take mean and deviation of features.  # (N, D)"""
        exact = features.double()
        self.mean.copy_(exact.mean(0))
        self.deviation.copy_(exact.std(0, correction=0).clamp_min(EPSILON))
