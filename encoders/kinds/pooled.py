"""A network without its classifier: one row of numbers per frame; of a vision transformer its class token before the final norm.

What such a network takes and gives, and where its stages and its class token are, is not read from its documentation but tried, with one
picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from ...errors import EstError, UsageError
from ..backbone import FrameEncoder, Normalization
from ..tail import PICTURES, Tail, normalized
from ..taps import CLASS_TOKEN
from .class_token import find_norm, gives_class_token, tokens_before
from .layout import REFUSALS, Layout, find_layout


class Pooled(FrameEncoder):
    """A network that ends where its classifier began."""

    def __init__(self, net: nn.Module, *, name: str, side: int, normalization: Normalization) -> None:
        super().__init__()
        self.net = net
        self.name = self.title = name
        self.side = side
        self.normalization = normalization
        self._norm = find_norm(net)  # behind the class token; empty where there is none
        row = self._try(side)
        if row.ndim != 2 or row.shape[0] != 1:
            raise EstError(
                f"{name} makes {tuple(row.shape)} of one picture, expected (1, width).",
                remedy="use a network that ends in one row of features",
            )
        self.width = row.shape[1]
        self.tap_names = ("gap", CLASS_TOKEN) if self._norm else ("gap",)
        self._sides = {side}  # that it is known to take
        self._layouts: list[Layout | None] = []  # the one that is found when it is first asked for

    @property
    def trunk(self) -> nn.Module:
        """Return the network whose names of tensors are those in files."""
        return self.net

    def taps(self, images: Tensor, names: Sequence[str]) -> dict[str, Tensor]:
        """Return gap, what the network gives its classifier, and the class token before the final norm.  # each (N, width)"""
        assert set(names) <= set(self.tap_names), names
        if CLASS_TOKEN not in names:
            return {"gap": self.net(self.normalize(images)).float()} if names else {}
        with tokens_before(self.net.get_submodule(self._norm)) as seen:
            rows = self.net(self.normalize(images))
        found = {"gap": rows.float(), CLASS_TOKEN: seen[0][:, 0].float()}
        return {name: found[name] for name in names}

    def shape_of(self, tap: str, size: int) -> tuple[int, ...]:
        """Return the shape of one frame's row of a tap; refuse taps that it has not, and sizes that the network does not take."""
        if tap == CLASS_TOKEN and not self._norm:
            raise UsageError(
                f"{self.name} does not give a class token behind a final norm, and so has no feature {CLASS_TOKEN}.",
                remedy="--features gap, or a vision transformer: --weights timm:vit_base_patch16_384.orig_in21k_ft_in1k",
            )
        if tap not in self.tap_names:
            raise UsageError(
                f"{self.name} has the feature{'s' * bool(self._norm)} {' and '.join(self.tap_names)} alone, found {tap!r}: "
                "maps and pyramids are those of ResNet-18.",
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

    @property
    def stages(self) -> tuple[str, ...]:
        """Name the stages in order; none where no layout fits the network."""
        return tuple(self._layout.stages) if self._layout is not None else ()

    @property
    def last_stage(self) -> list[nn.Module]:
        """Return the modules of the last stage and of all that follows it."""
        return self._layout.last_stage(self.net) if self._layout is not None else []

    def tail(self, tap: str = PICTURES) -> Tail:
        """Return the steps from pictures to rows of gap: one for each block of the stages, where they are known."""
        if self._layout is None:
            return super().tail(tap)
        assert tap == PICTURES, f"{self.name} has no steps from {tap}"
        before = (partial(normalized, self), *self._layout.before(self.net))
        return Tail(before=before, last=tuple(self._layout.last(self.net)))

    @property
    def _layout(self) -> Layout | None:
        if not self._layouts:
            assert self.side is not None
            self._layouts.append(find_layout(self.net, self.side))
        return self._layouts[0]

    @torch.no_grad()
    def _try(self, size: int) -> Tensor:
        """Return what the network makes of one black picture; forget the norm of a class token that it does not give."""
        training = self.net.training
        like = next(self.net.parameters())
        norm = self.net.get_submodule(self._norm) if self._norm else nn.Identity()
        try:
            with tokens_before(norm) as seen:
                row = self.net.eval()(like.new_zeros((1, 3, size, size)))
        finally:
            self.net.train(training)
        if self._norm and not gives_class_token(norm, seen, row):
            self._norm = ""
        return row
