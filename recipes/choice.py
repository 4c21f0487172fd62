"""What may be chosen about a recipe: model, weights, preset, seeds, settings of the training; never clips, folds or what is scored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..extract.config import ExtractConfig
from ..train.config.config import TrainConfig
from ..train.config.configfile import MODEL, resolve
from ..train.models.contract import CROPS, ModelConfig
from ..train.models.registry import MODELS, config_class
from .recipe import DatasetRecipe

FIXED = ("protocol.", "select", "control", "data.votes", "allow_leak", "seeds", MODEL)  # of the protocol, or options
GAP = "gap"


@dataclass(frozen=True, kw_only=True)
class RecipeChoice:
    """What a user chooses; None is what the recipe says."""

    model: str | None = None
    weights: str | None = None
    normalize: str | None = None  # pixels of a FILE of weights
    preset: str | None = None
    seeds: tuple[int, ...] | None = None
    settings: tuple[str, ...] = ()  # KEY=VALUE
    device: str = "auto"
    precision: str = "auto"  # of the extraction
    models_dir: Path | None = None
    workers: int | None = None
    allow_leak: bool = False
    extraction: Mapping[str, Any] = field(
        default_factory=dict
    )  # other fields of ExtractConfig, for tests and small machines

    def sets(self, key: str) -> bool:
        """Return whether --set names a key."""
        return any(text.partition("=")[0].strip() == key for text in self.settings)

    def training(self, recipe: DatasetRecipe) -> TrainConfig:
        """Return the configuration of the training; refuse settings that the protocol has decided."""
        for text in self.settings:
            key = text.partition("=")[0].strip()
            if key.startswith(FIXED):
                remedy = {MODEL: "--model NAME", "seeds": "--seeds N,N…", "allow_leak": "--allow-leak"}.get(key)
                raise UsageError(
                    f"{key} belongs to {recipe.protocol}, and --set can change only settings that the protocol leaves open.",
                    remedy=remedy or "est train --cache CACHE, which takes any protocol",
                )
        model = self.model or recipe.model
        own = {
            key: value
            for key, value in recipe.settings.items()
            if model == recipe.model or not key.startswith("model.")
        }
        fixed = {
            "protocol.kind": recipe.kind,
            "seeds": self.seeds or recipe.seeds,
            "control": True,
            "device": self.device,
            "allow_leak": self.allow_leak or None,
        }
        options = {MODEL: model, **{key: value for key, value in own.items() if not self.sets(key)}, **fixed}
        config = resolve(self.preset or recipe.preset, None, self.settings, options)
        config.expect_effective()
        expect_frames(config.model)
        if (file := config.model.class_file) is not None:  # before hours of extraction, not after them
            from ..train.loop.starts.class_vectors import ClassVectors

            ClassVectors.read(file)
        return config

    def extraction_config(self, recipe: DatasetRecipe, training: TrainConfig, *, are_crops: bool) -> ExtractConfig:
        """Return how clips are extracted: the recipe's way, with the arrays that the model reads."""
        reads = training.model.reads
        features = (GAP,) if reads in ("", CROPS) else (GAP, reads)
        fields: dict[str, Any] = {
            "detector": "none" if are_crops else "retinaface",
            "weights": self.weights or recipe.weights,
            "normalize": self.normalize,
            "size": recipe.size,
            "features": features,
            "crops": reads == CROPS or training.finetune.on,
            "device": self.device,
            "precision": self.precision,
            "models_dir": self.models_dir,
            "workers": self.workers,
        }
        return ExtractConfig(**{**fields, **self.extraction})


def frame_models() -> tuple[str, ...]:
    """Return the models that a recipe can train: those that read frames, which is what a recipe extracts."""
    return tuple(name for name in MODELS if not config_class(name)().of_windows)


def expect_frames(model: ModelConfig) -> None:
    """Refuse a model of windows, which no recipe extracts."""
    if model.of_windows:
        raise UsageError(
            f"The model {model.name} reads windows, and a recipe extracts frames: no recipe can train it.",
            remedy=f"est cache import, then est train --cache CACHE --model {model.name}",
        )
