"""From a complete run to its card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePath
from typing import Any

from ..cache import Cache
from ..train.config.config import TrainConfig
from ..train.config.configfile import preset_settings, to_flat
from ..train.results.results import Results
from ..train.runs.run import RESULT
from .card import Card
from .clips import RecipeClips
from .recipe import DatasetRecipe

ELSEWHERE = ("device", "seeds", "protocol.", "tensorboard", "model.name")  # settings that stand elsewhere on the card
TOLD = ("device", "precision", "threads", "processes")  # of a run, about the machine


def make_card(
    recipe: DatasetRecipe,
    clips: RecipeClips,
    cache: Cache,
    results: Results,
    *,
    preset: str,
    weights: Mapping[str, str],
    code: Mapping[str, Any],
    seconds: Mapping[str, float],
) -> Card:
    """Return the card of a run; `weights` are the name, digest and licence of what made the features."""
    run = results.run
    metrics = results.to_json()
    frames = cache.recipes.frames
    feature = cache.recipes.features["gap"]
    failed = {failure.id for failure in cache.failures}
    ids = sorted({*cache.ids, *failed})
    folds = {fold: halves["test"] for fold, halves in run.facts["protocol"]["folds"].items()}
    return Card(
        recipe=recipe.name,
        protocol=recipe.version,
        rendered=recipe.rendering is not None,
        partial="; ".join(filter(None, (clips.partial, clips.dealt))),
        date=_ended(results),
        code=dict(code),
        machine=describe_machine(run.facts),
        model={
            "name": run.config.model.name,
            "title": run.config.model.title,
            "heading": run.facts["heading"],
            "preset": preset,
            "epochs": run.config.loop.epochs,
            "settings": changed_settings(run.config, preset),
        },
        encoder={
            "name": feature.backbone,
            "weights": feature.weights,
            "weights_digest": feature.weights_digest,
            "licence": weights.get("licence", ""),
            "normalize": feature.normalize,
            "precision": feature.precision,
            "detector": frames.detector,
            "size": frames.size,
        },
        counts={
            "listed": clips.listed,
            "clips": len(clips.everything),
            "missing": clips.missing,
            "failed": len(failed),
            "subjects": clips.subjects,
            "per_class": clips.per_class,
        },
        fingerprints={
            "cache": cache.recipes.fingerprints(),
            "clips": hashlib.sha256(json.dumps(ids).encode()).hexdigest()[:32],
            "annotations": run.facts["cache"]["annotations"],
        },
        folds={
            "independence": run.facts["protocol"]["independence"],
            "notes": run.facts["protocol"]["notes"],
            "tested": folds,
        },
        seeds=list(results.predictions.seeds),
        scores=metrics["pooled"],
        intervals={"over": results.units, **metrics["intervals"]},
        by_seed={
            str(seed): one.confusion.tolist()
            for seed, one in zip(results.predictions.seeds, results.predictions.by_seed, strict=True)
        },
        over_seeds=metrics["over_seeds"],
        control=metrics["control"],
        difference=metrics["above_control"],
        leaks=metrics.get("leaks", []),
        seconds={name: round(value, 1) for name, value in seconds.items()},
    )


def describe_machine(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return on what a run was trained: of the operating system its name alone, because a build may name a user's machine."""
    known = dict(facts["environment"])
    system = str(known.pop("platform", "")).partition("-")[0]
    return {"system": system, **known, **{name: facts[name] for name in TOLD if name in facts}}


def changed_settings(config: TrainConfig, preset: str) -> dict[str, Any]:
    """Return the settings that are not as the preset has them; of a file its name, not where it lies."""
    flat = to_flat(config)
    usual = to_flat(TrainConfig(model=type(config.model)())) | preset_settings(preset, config.model.name)
    found = {key: value for key, value in flat.items() if value != usual[key] and not key.startswith(ELSEWHERE)}
    return {
        key: PurePath(value).name if isinstance(value, str) and "/" in value else value for key, value in found.items()
    }


def _ended(results: Results) -> str:
    """Return when the last part was scored, so that a card that is made again is the same."""
    last = max((results.run.part(name) / RESULT).stat().st_mtime for name in results.run.parts)
    return datetime.fromtimestamp(last, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
