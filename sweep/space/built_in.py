"""The space that is searched without a file: each model's own part (`ModelConfig.search_space`) and a part that all share.

The values of the base configuration are among the choices, so that the base itself can be a trial; what is fixed is fixed for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ...errors import UsageError
from ...train.config.config import TrainConfig
from ...train.config.configfile import MODEL, from_flat, to_flat
from ...train.models.contract import CROPS, ModelConfig
from ...train.models.registry import MODELS, config_class
from .space import Space
from .tables import space_of

FIXED: Mapping[str, Any] = {"loop.optimizer": "adamw", "loop.warmup": 3, "data.scaling": True}
RANGES: Mapping[str, Mapping[str, Any]] = {
    "loop.learning_rate": {"low": 1e-4, "high": 3e-3, "log": True},
    "loop.weight_decay": {"low": 1e-4, "high": 0.3, "log": True},
}
CHOICES: Mapping[str, tuple[Any, ...]] = {
    "loop.epochs": (30, 60),
    "data.label_smoothing": (0.0, 0.1),
    "data.noise": (0.0, 0.1, 0.3),  # in standard deviations of a feature
    "data.mixup": (0.0, 0.2),
}


def built_in(models: tuple[str, ...], base: TrainConfig, clips: int) -> Space:
    """Return a space for models over a base configuration; the smallest training half has so many clips."""
    if not models:
        raise UsageError("A search space has at least one model, found none.", remedy=f"--model {next(iter(MODELS))}")
    for model in models:
        expect_searched(_section(model, base))
    shared = {model: _possible_of(_section(model, base), base) for model in models}
    tables: dict[str, Any] = {MODEL: list(models)}
    for key in dict.fromkeys(key for found in shared.values() for key in found):
        values = [found.get(key) for found in shared.values()]
        if all(value == values[0] for value in values):
            tables[key] = values[0]
        else:
            tables |= {f"model.{model}.{key}": found[key] for model, found in shared.items() if key in found}
    for model in models:
        own = _section(model, base).search_space(clips)
        tables |= {f"model.{model}.{key}": value for key, value in own.items()}
    return space_of(tables, model=models[0], base=base)


def expect_searched(model: ModelConfig) -> None:
    """Refuse a model that a sweep cannot train: sweeps learn from cached features."""
    if model.reads == CROPS:
        raise UsageError(f"A sweep trains on cached features, and {model.name} reads crops.", remedy="est train")


def _section(model: str, base: TrainConfig) -> ModelConfig:
    """Return the section [model] of a model: that of the base where it is the base's."""
    return base.model if base.model.name == model else config_class(model)()


def _possible_of(model: ModelConfig, base: TrainConfig) -> dict[str, Any]:
    """Return the shared part without what this model refuses: one that is told of frames has no mixup."""
    flat = to_flat(replace(base, model=model))

    def possible(key: str, values: Iterable[Any]) -> list[Any]:
        return [value for value in values if _is_possible({**flat, key: value})]

    found: dict[str, Any] = {key: value for key, value in FIXED.items() if possible(key, [value])}
    found |= {key: dict(table) for key, table in RANGES.items()}
    inside = all(flat[key] == value for key, value in FIXED.items())  # else the base is no point of the space anyway
    for key, choices in CHOICES.items():
        left = possible(key, sorted({*choices, *([flat[key]] if inside else [])}))
        found |= {key: left} if len(left) > 1 else {}
    return found


def _is_possible(flat: Mapping[str, Any]) -> bool:
    try:
        from_flat(flat)
    except UsageError:
        return False
    return True
