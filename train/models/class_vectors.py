"""A model whose classes are vectors of a file, such as a text encoder's: it compares a clip with each, and they do not learn."""

from __future__ import annotations

from torch import Tensor

from .model import Model


class WithClassVectors(Model):
    """Takes the vectors of its classes, in their order."""

    def begin_with(self, vectors: Tensor, projection: Tensor | None) -> None:
        """Take the vectors over, and the map from features to where they lie, where the file has it.  # (C, E), (D, E)"""
        raise NotImplementedError
