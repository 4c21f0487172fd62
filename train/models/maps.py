"""Maps as tokens: what each frame shows at each place of its map.

B clips, n parts, J frames of each, F = n · J, C channels, h × w sides of a map, P = h · w places.
"""

from __future__ import annotations

from torch import Tensor

from ...errors import UsageError
from .contract import places_of
from .model import Model


def places_of_maps(features: Tensor, model: Model) -> Tensor:
    """Return what each frame shows at each place, or say which maps the model is built for.  # (B, n, J, C, h, w) → (B, F, P, C)"""
    wanted = (*places_of(model.config.shown), model.width, *model.maps)
    if tuple(features.shape[1:]) != wanted:
        raise UsageError(
            f"Maps of a clip are (parts, frames, channels, height, width) = {wanted}, found {tuple(features.shape[1:])}."
        )
    return features.flatten(4).transpose(3, 4).flatten(1, 2)
