"""What models there are: what each reads, what it costs, where it is from, and how near it is to what was published.

Two labels say that. The *architecture* is that of the code here, and does not depend on a run. The *training* on cached features is with a
frozen encoder, whatever the architecture; most published numbers come from an encoder that learns, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..cache import Cache
from ..errors import EstError
from .config.config import DataConfig
from .models.contract import CROPS, WINDOWS, ModelConfig
from .models.description import Description, usual_shape
from .models.registry import MODELS, config_class, describe_model, maps_read

CLASSES = 7  # for which parameters are counted without a cache: the expressions of the paper, on features of ResNet-18 or crops
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
    missing: str | None = None  # what a cache lacks for it,
    remedy: str | None = None  # and how it gets that; one command adds the features of all models

    def to_json(self) -> dict[str, Any]:
        """Return the same as JSON data."""
        return asdict(self)


def list_models(cache: Cache | None = None, only: str | None = None) -> list[ListedModel]:
    """Return every model, or one; of a cache those that cannot read it say why, and all are counted on its features and classes."""
    chosen = {only: config_class(only)} if only is not None else {name: config_class(name) for name in MODELS}
    beside = maps_read(chosen)
    found = []
    for name, kind in chosen.items():
        config = kind()
        cost = _cost(config, cache)
        error = None if cache is None else _refusal(config, cache, beside)
        found.append(
            ListedModel(
                name=name,
                what=MODELS[name],
                reads=config.reads or (WINDOWS if config.of_windows else "vectors"),
                parameters=cost.parameters,
                macs=cost.macs,
                source=config.source or OWN,
                architecture=config.architecture,
                training=training_of(config),
                missing=None if error is None else error.message,
                remedy=None if error is None else error.remedy,
            )
        )
    return found


def training_of(config: ModelConfig) -> str:
    """Return how a model is trained here by default, beside its published training."""
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
    remedies = dict.fromkeys(one.remedy for one in models if one.remedy)
    return [
        *lines,
        *(_missing_line(one.name, one.missing) for one in models if one.missing),
        *(f"  try: {remedy}" for remedy in remedies),
    ]


def _missing_line(name: str, missing: str) -> str:
    """Return a line of what a model lacks, which names the model once."""
    return missing if missing.startswith(f"{name} ") else f"{name}: {missing}"


def _cost(config: ModelConfig, cache: Cache | None) -> Description:
    """Count a model on what a cache has, where it can be built for that; else on what is usual."""
    usual = usual_shape(WINDOWS if config.of_windows else config.reads)
    if cache is None:
        return describe_model(config, usual[0], CLASSES, usual[1:])
    classes = len(set(cache.clips.label_names) - {None}) or CLASSES
    windows = next(iter(cache.window_features), "")
    recipe = cache.recipes.features.get(windows if config.of_windows else config.reads or DataConfig.feature)
    shape = recipe.shape if recipe is not None and len(recipe.shape) == len(usual) else usual
    if config.reads == CROPS:
        shape = (3, *[cache.recipes.frames.size] * 2)
    try:
        return describe_model(config, shape[0], classes, tuple(shape[1:]))
    except EstError:
        return describe_model(config, usual[0], classes, usual[1:])


def _refusal(config: ModelConfig, cache: Cache, beside: Sequence[str]) -> EstError | None:
    """Return why a model cannot be trained on a cache."""
    from .data.feature_arrays import expect_read_by
    from .data.pixels import choose_source, expect_sources

    try:
        if config.reads == CROPS:
            if choose_source(cache, "auto", "all") == "videos":
                labelled = [place for place, name in enumerate(cache.clips.label_names) if name is not None]
                expect_sources(cache, labelled)
        elif config.reads or config.of_windows:
            feature = config.reads or next(iter(cache.window_features), "")
            expect_read_by(cache, config, feature, beside=beside)
    except EstError as error:
        return error
    return None
