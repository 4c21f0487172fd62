"""A model of features and the ResNet-18 before it, which learns too: all of it, or its last stage from cached maps of the third.

A batch norm that stands still is part of the convolution before it, as in extraction: that keeps half as much for the backward pass, and
is quicker. One that learns sees a batch as the paper's does: every place of every snippet, repeats too. Where batch norms stand still no
frame depends on another, so each different one is looked at once; without gradients, a few at a time.

Legend: U different frames, N = U, or B·n·J where batch norms learn; B clips, n snippets, J frames of a snippet, S side, C h w of a map.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...encoders.backbone import Backbone, norms_of
from ...encoders.resnet import Block
from ...encoders.taps import STAGES
from .frames import Frames
from .model import Answer, Batch, Model
from .scaling import Scaling

CHUNK = 64  # frames that are looked at together where no gradient is wanted
LAST = 3  # steps of layer4: two blocks and the pool

Step = Callable[[Tensor], Tensor]


class Tuned(Model):
    """A model of features behind a ResNet-18 that learns with it."""

    def __init__(
        self,
        backbone: Backbone,
        head: Model,
        *,
        learns: Literal["layer4", "all"],
        batch_norm: Literal["train", "frozen"],
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        assert head.width == backbone.width
        self.config, self.width, self.num_classes = head.config, head.width, head.num_classes
        self.backbone, self.est = backbone, head  # "est", whatever it is: so checkpoints have it
        self.learns, self.batch_norm, self.checkpointing = learns, batch_norm, checkpointing
        self._head_only = False
        backbone.requires_grad_(False)
        self._learning.requires_grad_(True)
        if batch_norm == "frozen":
            for norm in norms_of(backbone):
                norm.requires_grad_(False)
        self.train(self.training)

    @property
    def on_features(self) -> Model:
        """Return the model of features."""
        return self.est

    @property
    def scaling(self) -> Scaling:  # ty: ignore[incompatible-property-override]
        """Return what is done to features first."""
        return self.est.scaling

    @property
    def head_only(self) -> bool:
        """Say whether the backbone is temporarily frozen."""
        return self._head_only

    @head_only.setter
    def head_only(self, wanted: bool) -> None:
        self._head_only = wanted
        self.train(self.training)

    @property
    def _learning(self) -> nn.Module:
        return self.backbone.layer4 if self.learns == "layer4" else self.backbone

    @property
    def _follows(self) -> bool:
        """Say whether batch norms take the statistics of what they see."""
        return self.training and self.batch_norm == "train" and not self._head_only

    def train(self, mode: bool = True) -> Tuned:
        """Enter training or evaluation; what does not learn stays in evaluation."""
        super().train(mode)
        self.backbone.eval()
        if self._follows:
            self._learning.train()
        return self

    def groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters that learn, of backbone and head; while the head learns alone, the backbone's get no gradient."""
        return [weight for weight in self.backbone.parameters() if weight.requires_grad], list(self.est.parameters())

    def forward(self, batch: Batch) -> Answer:
        """Classify clips: of the batch `rows` and `place` are the frames (frames.py), and the rest is the model's of features."""
        others = {name: tensor for name, tensor in batch.items() if name not in ("rows", "place")}
        return self.est({**others, "features": self.features(Frames(rows=batch["rows"], place=batch["place"]))})

    def features(self, frames: Frames) -> Tensor:
        """Return what the backbone makes of each place's frame, in float32.  # → (B, n, J, 512)"""
        x, place = frames.rows, frames.place
        steps = self._steps(pictures=x.dtype == torch.uint8)
        together = self._together(len(steps))
        if together:
            x = look(steps[:together], x)
        if not self._follows:
            # unlike x[place], this adds the gradients of repeats in the same order every time, on a CPU with several threads too
            return F.embedding(place, self._learn(steps[together:], x))
        return self._learn(steps[together:], x[place.flatten()]).view(*place.shape, self.width)

    def black(self, size: int) -> Tensor:
        """Return the features of a black crop, in evaluation.  # (512,)"""
        rows = torch.zeros(1, size, size, 3, dtype=torch.uint8, device=self.backbone.conv1.weight.device)
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                return self.features(Frames(rows=rows, place=rows.new_zeros(1, 1, 1, dtype=torch.long))).flatten()
        finally:
            self.train(training)

    def _steps(self, *, pictures: bool) -> list[Step]:
        """Return what happens to pictures, or to maps of layer3, until they are features."""
        blocks = [partial(through_block, block) for stage in STAGES for block in getattr(self.backbone, stage)]
        steps: list[Step] = [partial(through_stem, self.backbone), *blocks, pool]
        if pictures:
            return steps
        assert self.learns == "layer4"  # maps are not what a backbone would make of the pixels once it has learnt
        return [enter, *steps[-LAST:]]

    def _together(self, count: int) -> int:
        """Return the first step that sees all frames of a batch: for its gradients, or its statistics."""
        if self._head_only or not (self._follows or torch.is_grad_enabled()):
            return count
        return count - LAST if self.learns == "layer4" else 0

    def _learn(self, steps: Sequence[Step], x: Tensor) -> Tensor:
        """Take the steps that learn. Checkpointing does all but the last block twice: backward begins there, with all that it keeps."""
        twice = max(len(steps) - 2, 0) if self.checkpointing and torch.is_grad_enabled() else 0
        for step in steps[:twice]:
            x = checkpoint(step, x, use_reentrant=False, preserve_rng_state=False, context_fn=self._first_and_second)
        for step in steps[twice:]:
            x = step(x)
        return x

    def _first_and_second(self) -> tuple[nullcontext[None], AbstractContextManager[None]]:
        """Return what surrounds a step, and its repetition: the statistics have followed the batch the first time."""
        return nullcontext(), keeping_statistics(self.backbone)


def through_stem(backbone: Backbone, pictures: Tensor) -> Tensor:
    """Take pictures through all that comes before layer1.  # (N, S, S, 3) uint8 → (N, 64, S/4, S/4), channels last"""
    images = backbone.normalize(pictures.permute(0, 3, 1, 2).float().div_(255))
    x = F.relu_(convolve(backbone.conv1, backbone.bn1, images))
    return F.max_pool2d(x, kernel_size=3, stride=2, padding=1)


def enter(maps: Tensor) -> Tensor:
    """Bring maps into the layout of what layer3 gives.  # (N, C, h, w)"""
    return maps.float().contiguous(memory_format=torch.channels_last)


def through_block(block: Block, x: Tensor) -> Tensor:
    """Take maps through two convolutions, and around them.  # (N, C, h, w)"""
    around = x if block.downsample is None else convolve(*block.downsample.children(), x)
    y = F.relu_(convolve(block.conv1, block.bn1, x))
    return F.relu_(convolve(block.conv2, block.bn2, y).add_(around))


def pool(maps: Tensor) -> Tensor:
    """Average over places, in float32 whatever the precision.  # (N, C, h, w) → (N, C)"""
    return maps.float().mean((2, 3))


def convolve(convolution: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """Convolve and normalise.  # (N, C, h, w)"""
    if norm.training:
        return norm(convolution(x))
    assert isinstance(convolution, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    weight, bias = convolution.weight * scale[:, None, None, None], norm.bias - norm.running_mean * scale
    return F.conv2d(x, weight, bias, convolution.stride, convolution.padding)


def look(steps: Sequence[Step], rows: Tensor) -> Tensor:
    """Take steps without gradients, with a few frames at a time."""
    found = []
    with torch.no_grad():
        for x in rows.split(CHUNK):
            for step in steps:
                x = step(x)
            found.append(x)
    return torch.cat(found)


@contextmanager
def keeping_statistics(backbone: Backbone) -> Generator[None]:
    """Let batch norms in training follow what they see in copies of their statistics, which are dropped."""
    own = [(norm, dict(norm.named_buffers())) for norm in norms_of(backbone) if norm.training]
    for norm, buffers in own:
        for name, tensor in buffers.items():
            setattr(norm, name, tensor.clone())
    try:
        yield
    finally:
        for norm, buffers in own:
            for name, tensor in buffers.items():
                setattr(norm, name, tensor)
