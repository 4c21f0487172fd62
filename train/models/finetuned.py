"""A model of features and the frame encoder before it, which learns too: all of it, or its last stage, from cached maps where it has them.

The encoder hands out the steps from pictures or maps to features. A batch norm that learns sees a batch as the paper's does: every place of
every snippet, repeats too. Where none learns no frame depends on another, so each different one is looked at once; without gradients, a
few at a time. All else in an encoder stays in evaluation: it drops nothing at random, and the same frame has the same features.

A model that reads maps stands behind the steps up to them. Where it holds the last stage itself, the encoder has none.

Legend: U different frames, N = U, or B·n·J where batch norms learn; B clips, n snippets, J frames of a snippet, D feature width;
C h w of a map.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import deepcopy
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...encoders.backbone import FrameEncoder, norms_of
from ...encoders.tail import Step, Tail
from .batch_frames import BatchFrames
from .last_stage import WithLastStage
from .model import Answer, Batch, Model
from .scaling import Scaling

CHUNK = 64  # frames that are looked at together where no gradient is wanted


class FinetunedModel(Model):
    """A model of features behind a frame encoder that learns with it."""

    def __init__(
        self,
        backbone: FrameEncoder,
        head: Model,
        *,
        learns: Literal["layer4", "all"],
        batch_norm: Literal["train", "frozen"],
        checkpointing: bool = False,
    ) -> None:
        super().__init__()
        assert learns == "all" or backbone.stages, f"{backbone.name} has no stages"
        self.config, self.num_classes = head.config, head.num_classes
        self.width, self.maps = head.width, head.maps
        self.tap = head.config.reads or "gap"
        assert self.tap in backbone.tap_names, f"{backbone.name} has no {self.tap}"
        assert self.tap != "gap" or head.width == backbone.width
        if isinstance(head, WithLastStage):
            backbone.replace_last_stage(nn.Sequential())  # the model has one itself
        self.backbone, self.est = backbone, head  # "est", whatever it is: so checkpoints have it
        self.learns, self.batch_norm, self.checkpointing = learns, batch_norm, checkpointing
        self._head_only = False
        backbone.requires_grad_(False)
        for part in self._learning:
            part.requires_grad_(True)
        if batch_norm == "frozen":
            for norm in norms_of(backbone):
                norm.requires_grad_(False)
            if isinstance(head, WithLastStage):
                head.hold_norms()
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
        """Return whether the backbone is temporarily frozen."""
        return self._head_only

    @head_only.setter
    def head_only(self, wanted: bool) -> None:
        self._head_only = wanted
        self.train(self.training)

    @property
    def _learning(self) -> list[nn.Module]:
        if self.learns == "layer4":
            return self.backbone.last_stage
        if self.tap != self.backbone.maps:
            return [self.backbone]
        after = self.backbone.last_stage
        return [part for part in self.backbone.children() if not any(part is one for one in after)]

    @property
    def _following(self) -> list[nn.BatchNorm1d | nn.BatchNorm2d]:
        """Return the batch norms that take the statistics of what they see."""
        follow = self.training and self.batch_norm == "train" and not self._head_only
        return norms_of(*self._learning) if follow else []

    def train(self, mode: bool = True) -> FinetunedModel:
        """Enter training or evaluation; what does not learn stays in evaluation."""
        super().train(mode)
        self.backbone.eval()
        for norm in self._following:
            norm.train()
        return self

    def groups(self) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
        """Return the parameters that learn, of backbone and head; while the head learns alone, the backbone's get no gradient."""
        return [weight for weight in self.backbone.parameters() if weight.requires_grad], list(self.est.parameters())

    def forward(self, batch: Batch) -> Answer:
        """Classify clips: of the batch `rows` and `place` are the frames (batch_frames.py), and the rest is the model's of features."""
        others = {name: tensor for name, tensor in batch.items() if name not in ("rows", "place")}
        return self.est({**others, "features": self.features(BatchFrames(rows=batch["rows"], place=batch["place"]))})

    def features(self, frames: BatchFrames) -> Tensor:
        """Return what the backbone makes of each place's frame, in float32.  # → (B, n, J, D) or (B, n, J, C, h, w)"""
        x, place = frames.rows, frames.place
        tail, follows = self._tail(pictures=x.dtype == torch.uint8), bool(self._following)
        steps, together = tail.steps, self._together(tail, follows=follows)
        if together:
            x = look(steps[:together], x)
        if not follows:
            # unlike x[place], this adds the gradients of repeats in the same order every time, on a CPU with several threads too
            rows = self._learn(steps[together:], x).float()
            return F.embedding(place, rows.flatten(1)).view(*place.shape, *rows.shape[1:])
        rows = self._learn(steps[together:], x[place.flatten()]).float()
        return rows.unflatten(0, place.shape)

    def black(self, size: int) -> Tensor:
        """Return the features of a black crop, in evaluation.  # (D,)"""
        rows = torch.zeros(1, size, size, 3, dtype=torch.uint8, device=self.device)
        training = self.training
        self.eval()
        try:
            with torch.no_grad():
                return self.features(BatchFrames(rows=rows, place=rows.new_zeros(1, 1, 1, dtype=torch.long))).flatten()
        finally:
            self.train(training)

    def whole_encoder(self) -> FrameEncoder:
        """Return the encoder with its last stage, which may be the model's."""
        if not isinstance(self.est, WithLastStage):
            return self.backbone
        whole = deepcopy(self.backbone)
        whole.replace_last_stage(deepcopy(self.est.stage))
        return whole

    def _tail(self, *, pictures: bool) -> Tail:
        """Return what happens to pictures, or to maps before the last stage, until they are features."""
        if pictures:
            return self.backbone.tail() if self.tap == "gap" else Tail(last=self.backbone.steps_to(self.tap))
        assert self.learns == "layer4"  # maps are not what a backbone would make of the pixels once it has learnt
        return self.backbone.tail(self.backbone.maps)

    def _together(self, tail: Tail, *, follows: bool) -> int:
        """Return the first step that sees all frames of a batch: for its gradients, or its statistics."""
        if self._head_only or not (follows or torch.is_grad_enabled()):
            return len(tail.steps)
        return len(tail.before) if self.learns == "layer4" else 0

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
def keeping_statistics(backbone: FrameEncoder) -> Generator[None]:
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
