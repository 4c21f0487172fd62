"""A model that holds the last stage of a frame encoder: it reads the maps before it, and the stage learns with the rest of the model."""

from __future__ import annotations

from typing import Self

from torch import nn

from ...encoders.backbone import FrameEncoder, norms_of
from .model import Model


class WithLastStage(Model):
    """Says which of its modules is that stage; where it starts, and whether its batch norms learn, is decided from outside."""

    norms_held = False

    @property
    def stage(self) -> nn.Module:
        """Return the stage."""
        raise NotImplementedError

    def start_from(self, encoder: FrameEncoder) -> None:
        """Take the weights of an encoder's last stage over."""
        (stage,) = encoder.last_stage
        self.stage.load_state_dict(stage.state_dict())

    def hold_norms(self) -> None:
        """Keep the batch norms of the stage as they are, in training too."""
        self.norms_held = True
        for norm in norms_of(self.stage):
            norm.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        """Enter training or evaluation; batch norms that are held stay in evaluation."""
        super().train(mode)
        if self.norms_held:
            for norm in norms_of(self.stage):
                norm.eval()
        return self
