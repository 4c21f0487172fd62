"""Anybody's network whose classifier is off: one row of numbers a frame, and nothing else is tapped.

What such a network takes and gives is not read from its documentation but tried, with one black picture.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...errors import EstError, UsageError
from ..backbone import FrameEncoder, Normalization

REFUSALS = (RuntimeError, AssertionError, ValueError, IndexError)  # what networks raise for pictures of a wrong size


class Pooled(FrameEncoder):
    """A network that ends where its classifier began."""

    def __init__(self, net: nn.Module, *, name: str, side: int, normalization: Normalization) -> None:
        super().__init__()
        self.net = net
        self.name = self.title = name
        self.side = side
        self.normalization = normalization
        row = self._try(side)
        if row.ndim != 2 or row.shape[0] != 1:
            raise EstError(
                f"{name} makes {tuple(row.shape)} of one picture, expected (1, width).",
                remedy="use a network that ends in one row of features",
            )
        self.width = row.shape[1]
        self._sides = {side}  # that it is known to take

    @property
    def trunk(self) -> nn.Module:
        """Return the network whose names of tensors are those in files."""
        return self.net

    def taps(self, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Return gap, what the network gives its classifier.  # (N, width)"""
        assert set(names) <= {"gap"}, names
        return {"gap": self.net(self.normalize(images)).float()} if names else {}

    def shape_of(self, tap: str, size: int) -> tuple[int, ...]:
        """Return the shape of one frame's row of gap; refuse other taps, and sizes that the network does not take."""
        if tap not in self.tap_names:
            raise UsageError(
                f"{self.name} has the feature gap alone, found {tap!r}: maps and pyramids are those of ResNet-18.",
                remedy="--features gap",
            )
        if size not in self._sides:
            try:
                self._try(size)
            except REFUSALS as error:
                raise UsageError(
                    f"{self.name} does not take crops of {size} pixels: {str(error).splitlines()[0]}",
                    remedy=f"--size {self.side}",
                ) from error
            self._sides.add(size)
        return (self.width,)

    @torch.no_grad()
    def _try(self, size: int) -> Tensor:
        """Return what the network makes of one black picture."""
        training = self.net.training
        like = next(self.net.parameters())
        try:
            return self.net.eval()(like.new_zeros((1, 3, size, size)))
        finally:
            self.net.train(training)
