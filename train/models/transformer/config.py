"""The settings of the Transformer baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ....errors import UsageError, expect_values
from ..contract import CLIPS_FOR_SIZES, MANY, SHARE, Architecture, ModelConfig, Snippets, Training, flag

Tokens = Literal["snippets", "frames"]

# What a sweep varies by default.
SEARCH = {"dropout": [0.0, 0.1, 0.3], "head_dropout": [0.0, 0.2, 0.4]}
SEARCH_DIMS = (128, 256, 512)  # with CLIPS_FOR_SIZES
SMALL: Mapping[str, Any] = {"dim": 128, "ffn": 256, "layers": 1, "dropout": 0.0, "head_dropout": 0.0}


@dataclass(frozen=True, kw_only=True)
class Config(ModelConfig):
    """What `build` builds."""

    name: ClassVar[str] = "transformer"
    title: ClassVar[str] = "Transformer"
    source: ClassVar[str] = "a baseline of Liu et al., Pattern Recognition 2023"
    architecture: ClassVar[Architecture] = "reconstruction"
    published_training: ClassVar[Training] = "end to end"
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("dropout", "head_dropout")
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": SMALL}

    snippets: int = flag(7, "--snippets", "Snippets of a clip, n. [default: 7]")
    frames: int = flag(5, "--frames", "Frames of a snippet, J. [default: 5]")
    layers: int = flag(3, "--layers", "Layers of encoder and decoder. [default: 3]")
    heads: int = flag(4, "--heads", "Heads of every attention. [default: 4]")
    tokens: Tokens = flag(
        "snippets", "--tokens", "snippets: their means, 7 tokens; frames: each frame, 35. [default: snippets]"
    )
    dim: int = 512
    ffn: int = 2048
    dropout: float = 0.1
    head_dropout: float = 0.4  # before the last layer of the classifier

    def __post_init__(self) -> None:
        sizes = dict.fromkeys(("snippets", "frames", "layers", "heads", "dim", "ffn"), MANY)
        expect_values(self, "model.", dropout=SHARE, head_dropout=SHARE, **sizes)
        if self.dim % self.heads or self.dim % 2:
            raise UsageError(
                f"model.dim is an even multiple of model.heads, found {self.dim} and {self.heads}.",
                remedy=f"--set model.dim={2 * self.heads * max(1, self.dim // (2 * self.heads))}",
            )

    @property
    def shown(self) -> Snippets:
        """Return snippets of the clip's window."""
        return Snippets(count=self.snippets, frames=self.frames)

    @property
    def num_tokens(self) -> int:
        """Return how many tokens a clip has."""
        return self.snippets if self.tokens == "snippets" else self.snippets * self.frames

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return regularisation and, with many clips, sizes; with few those of the preset small."""
        if clips >= CLIPS_FOR_SIZES:
            return {**SEARCH, "dim": sorted({*SEARCH_DIMS, self.dim})}
        own = self.dim != type(self).dim or self.ffn != type(self).ffn
        return dict(SEARCH) if own else {**SEARCH, "dim": SMALL["dim"], "ffn": SMALL["ffn"]}
