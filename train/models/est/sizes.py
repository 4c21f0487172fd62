"""The sizes that the Transformer and the expression head have: settings of EST, and of others that build them."""

from __future__ import annotations

from typing import Protocol


class Sizes(Protocol):
    """Settings with these fields, of whichever model."""

    @property
    def dim(self) -> int:
        """Width of a token, d."""
        ...

    @property
    def heads(self) -> int:
        """Heads of every attention, h."""
        ...

    @property
    def ffn(self) -> int:
        """Width of the feed-forward half."""
        ...

    @property
    def layers(self) -> int:
        """Layers of encoder and of decoder."""
        ...

    @property
    def dropout(self) -> float:
        """Dropout of the layers."""
        ...

    @property
    def head_dropout(self) -> float:
        """Dropout before the last layer of the expression head."""
        ...
