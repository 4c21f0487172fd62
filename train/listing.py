"""What models there are: what each reads, what it costs, where it is from, and how near it is to what was published.

Two labels say that. The *architecture* is that of the code here, and does not depend on a run. The *training* on cached features is with a
frozen encoder, whatever the architecture; most published numbers come from an encoder that learns, too.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..cache import Cache
from ..errors import EstError
from .models.contract import CROPS, WINDOWS, ModelConfig
from .models.description import usual_shape
from .models.registry import MODELS, config_class, describe_model

CLASSES = 7  # for which parameters are counted: the expressions of the paper, on features of ResNet-18 or crops
OWN = "this project"


@dataclass(frozen=True, kw_only=True)
class ListedModel:
    """A model with its default settings."""

    name: str
    what: str
    reads: str
    parameters: int  # that learn from the cache
    macs: int  # of one clip whose features are cached
    source: str
    architecture: str  # of contract.ARCHITECTURES
    training: str
    missing: str | None = None  # what a cache lacks, and the command that adds it

    def to_json(self) -> dict[str, Any]:
        """Return the same for machines."""
        return asdict(self)


def list_models(cache: Cache | None = None) -> list[ListedModel]:
    """Return every model; of a cache those that cannot read it say why."""
    found = []
    for name, what in MODELS.items():
        config = config_class(name)()
        width, *sides = usual_shape(WINDOWS if config.of_windows else config.reads)
        cost = describe_model(config, width, CLASSES, tuple(sides))
        found.append(
            ListedModel(
                name=name,
                what=what,
                reads=config.reads or (WINDOWS if config.of_windows else "vectors"),
                parameters=cost.parameters,
                macs=cost.macs,
                source=config.source or OWN,
                architecture=config.architecture,
                training=training_of(config),
                missing=None if cache is None else _missing(config, cache),
            )
        )
    return found


def training_of(config: ModelConfig) -> str:
    """Say how a model is trained here by default, beside its published training."""
    if config.reads == CROPS:
        return "end to end"
    match config.published_training:
        case "end to end" if config.last_stage:
            return "encoder frozen up to its last stage, which learns (published: end to end, --finetune all)"
        case "end to end":
            return "frozen encoder (published: end to end, --finetune all)"
        case "frozen encoder":
            return "frozen encoder (as published)"
    return "frozen encoder"


def listed_lines(models: list[ListedModel]) -> list[str]:
    """Return a table as text."""
    head = ("model", "reads", "parameters", "architecture", "training", "source")
    rows = [(one.name, one.reads, f"{one.parameters:,}", one.architecture, one.training, one.source) for one in models]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = []
    for row in (head, *rows):
        cells = [
            f"{cell:>{width}}" if title == "parameters" else f"{cell:<{width}}"
            for title, cell, width in zip(head, row, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return lines


def _missing(config: ModelConfig, cache: Cache) -> str | None:
    """Say why a model cannot be trained on a cache."""
    from .data.feature_arrays import expect_shape, expect_windows
    from .data.pixels import choose_source

    if not config.reads and not config.of_windows:
        return None
    try:
        if config.of_windows:
            expect_windows(cache, next(iter(cache.window_features), ""))
            return None
        if config.reads == CROPS:
            choose_source(cache, "auto", "all")
            return None
        expect_shape(cache, config.reads, maps=True)
    except EstError as error:
        return f"{error.message} {error.remedy or ''}".strip()
    return None
