"""The settings of the temporal head on image features."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ....errors import expect_values
from ..contract import CLIPS_FOR_SIZES, MANY, SHARE, ClassFile, expect_whole_heads, flag
from ..former_temporal.segments import SEARCH, SMALL, SegmentsConfig


@dataclass(frozen=True, kw_only=True)
class Config(SegmentsConfig):
    """What `build` builds."""

    name: ClassVar[str] = "clip-temporal"
    title: ClassVar[str] = "CLIP-temporal"
    own_in_stack: ClassVar[tuple[str, ...] | None] = ("dropout",)
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"small": SMALL}

    class_vectors: str = flag(
        "",
        "--class-vectors",
        "A file of class vectors, .safetensors or .npz: those of a text encoder, which do not learn. [default: learnt ones]",
    )
    layers: int = 1
    heads: int = 8
    dim: int = 512  # where clips and classes are compared: as wide as the vectors of a file
    ffn: int = 1024
    dropout: float = 0.1
    class_temperature: float = 0.07  # that cosines are divided by at the start; it learns

    def __post_init__(self) -> None:
        super().__post_init__()
        expect_values(self, "model.", dropout=SHARE, **dict.fromkeys(("layers", "heads", "dim", "ffn"), MANY))
        expect_values(self, "model.", class_temperature=(0.01, 1))
        expect_whole_heads(self.dim, self.heads)
        if self.class_vectors:  # absolute, so that a run resumes from any folder
            object.__setattr__(self, "class_vectors", str(Path(self.class_vectors).absolute()))

    @property
    def class_file(self) -> ClassFile | None:
        """Return the file of class vectors, where they do not learn."""
        return ClassFile(path=Path(self.class_vectors), width=self.dim) if self.class_vectors else None

    def search_space(self, clips: int) -> Mapping[str, Any]:
        """Return the dropout and, with few clips, sizes of the preset small if they are not set; the width is that of the vectors."""
        own = any(getattr(self, name) != getattr(type(self), name) for name in SMALL if name != "dropout")
        sizes = {"ffn": SMALL["ffn"], **({} if self.class_vectors else {"dim": SMALL["dim"]})}
        few = clips < CLIPS_FOR_SIZES and not own
        return {**SEARCH, "layers": [1, 2] if few else sorted({1, 2, self.layers}), **(sizes if few else {})}
