"""What is exported: a module of tensors in, logits and probabilities out; of a model alone, or behind its frame encoder.

Legend: B clips, n parts of a clip, J frames of each, S side of a crop, D feature width, C classes.
"""

from __future__ import annotations

from torch import Tensor, nn

from ...encoders.backbone import FrameEncoder
from ...train.models.contract import places_of
from ...train.models.model import Model

CROPS, FEATURES = "crops", "features"
LOGITS, PROBABILITIES = OUTPUTS = ("logits", "probabilities")


class HeadGraph(nn.Module):
    """A model of features: the tensors of its batch, in the order of `inputs`."""

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.model = model
        self.inputs = (FEATURES, *model.config.told)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Classify clips.  # (B, n, J, D), what is told (B, n, J) → (B, C), (B, C)"""
        return _answers(self.model, dict(zip(self.inputs, tensors, strict=True)))


class FullGraph(nn.Module):
    """A frame encoder and the model of what it makes of crops; pixels are scaled and normalised inside."""

    def __init__(self, encoder: FrameEncoder, tap: str, model: Model) -> None:
        super().__init__()
        self.encoder, self.tap, self.model = encoder, tap, model
        self.inputs = (CROPS, *model.config.told)
        self.places = places_of(model.config.shown)

    def forward(self, crops: Tensor, *told: Tensor) -> tuple[Tensor, Tensor]:
        """Classify clips.  # (B, n, J, S, S, 3) uint8 RGB, what is told (B, n, J) → (B, C), (B, C)"""
        pictures = crops.reshape(-1, *crops.shape[3:]).permute(0, 3, 1, 2).float() / 255
        rows = self.encoder.taps(pictures, (self.tap,))[self.tap]
        features = rows.reshape(-1, *self.places, *rows.shape[1:])
        return _answers(self.model, {FEATURES: features, **dict(zip(self.inputs[1:], told, strict=True))})


Graph = HeadGraph | FullGraph


def _answers(model: Model, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    logits = model(batch).expression
    return logits, logits.softmax(1)
