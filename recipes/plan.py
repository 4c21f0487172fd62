"""What a recipe is about to do, said before it starts: clips, steps, licences, how long it takes as far as that is known.

And whether the clips are enough to train on: it is checked before an extraction, not after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..cache import open_cache
from ..cache.stores.snapshot import staging_path
from ..encoders.kinds import find_design, names_encoder
from ..encoders.weights import LICENCES
from ..errors import EstError, UsageError, counted
from ..inputs.folders import list_images
from ..inputs.input import Input
from ..train.config.config import TrainConfig
from .clips import RecipeClips
from .recipe import DatasetRecipe

SAMPLED = 8  # clips of which frames are counted before anything is extracted
SET_ASIDE = (
    "            a run exists: if its clips have changed, it is kept under another name and a new one is trained"
)
BATCH = "loop.batch"
SLOW, FAST = 23, 93  # frames a second of `est extract` on two cores: AVX2 alone, and bf16 (docs/benchmarks.md)


@dataclass(frozen=True, kw_only=True)
class Pending:
    """What an extraction reads."""

    inputs: tuple[Input, ...] = ()
    changed: int = 0  # of them, in the cache, of a file of another size or time of change


@dataclass(frozen=True, kw_only=True)
class RecipePlan:
    """What will be done."""

    recipe: DatasetRecipe
    clips: RecipeClips
    config: TrainConfig
    preset: str
    weights: str
    licence: str  # of the weights; empty where it is not known before they are loaded
    out: Path
    extracted: bool  # the cache is there
    frames: int  # that are to be extracted, estimated; 0 where nothing is known
    pending: Pending = Pending()  # clips that are to be extracted
    trained: bool = False  # a run of the model is there, or begun
    rate: float = 0.0  # frames a second of an earlier part of the extraction
    folds: int = 1

    @property
    def trainings(self) -> int:
        """Count the trainings."""
        return self.folds * len(self.config.seeds)

    def lines(self) -> list[str]:
        """Format it as text."""
        recipe, clips, config = self.recipe, self.clips, self.config
        number = len(clips.everything)
        count = f"{number:,} clip{'s' * (number != 1)}"
        if clips.subjects:
            count += f", {clips.subjects} {'person' if clips.subjects == 1 else 'people'}"
        classes = ", ".join(f"{label} {number}" for label, number in clips.per_class.items())
        seeds = len(config.seeds)
        lines = [
            f"{recipe.protocol}: {recipe.what}",
            f"1 extract   {count} ({classes}) to {self.out}: {self._extraction()}",
            f"2 train     {config.model.name}, preset {self.preset}, {config.loop.epochs} epochs, "
            f"{self.folds} fold{'s' * (self.folds > 1)} × {seeds} seed{'s' * (seeds > 1)} = {self.trainings} trainings; "
            "what is left is shown after the first epochs",
            *([SET_ASIDE] if self.trained and not self.extracted else []),
            "3 control   pooled statistics and a linear classifier on the same folds",
            "4 evaluate  WAR and UAR with intervals, differences to the control, and the card",
            f"weights {self.weights}: {self.licence or 'no licence is known before they are loaded'}",
        ]
        if clips.dealt:
            lines.append(f"folds: {clips.dealt}; the card says so")
        if clips.partial:
            lines.append(f"partial: {clips.partial}; the card says so and fills no cell of the table")
        return lines

    def _extraction(self) -> str:
        if self.extracted:
            return "done"
        if not self.pending.inputs:
            return "no file has changed"
        return f"{self._what_is_left()}{self._how_long()}"

    def _what_is_left(self) -> str:
        left, changed = len(self.pending.inputs), self.pending.changed
        if left == len(self.clips.inputs) and not changed:
            return ""
        again = (
            f", {changed:,} of them again: their files have another size or time of change than those in the cache"
            if changed
            else ""
        )
        return f"{left:,} to extract{again}; "

    def _how_long(self) -> str:
        if not self.frames:
            return "how long is shown after the first clips"
        if self.rate:
            return f"about {self.frames:,} frames, about {_duration(self.frames / self.rate)} at {self.rate:.0f} frames/s as before"
        return (
            f"about {self.frames:,} frames; on two cores {_duration(self.frames / FAST)} to {_duration(self.frames / SLOW)}, "
            "with more of them or a GPU less"
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "recipe": self.recipe.name,
            "protocol": self.recipe.protocol,
            "clips": len(self.clips.everything),
            "subjects": self.clips.subjects,
            "per_class": self.clips.per_class,
            "partial": self.clips.partial,
            "folds_dealt": self.clips.dealt,
            "out": str(self.out),
            "extracted": self.extracted,
            "left": len(self.pending.inputs),
            "changed": self.pending.changed,
            "frames": self.frames,
            "model": self.config.model.name,
            "preset": self.preset,
            "weights": self.weights,
            "licence": self.licence,
            "epochs": self.config.loop.epochs,
            "folds": self.folds,
            "seeds": list(self.config.seeds),
            "trainings": self.trainings,
        }


def licence_of(weights: str) -> str:
    """Return the licence of weights that are known by name, without loading them; empty for a file."""
    if weights in LICENCES:
        return LICENCES[weights] or "random numbers"
    return find_design(weights).licence if names_encoder(weights) and "=" not in weights else ""


def count_folds(recipe: DatasetRecipe, clips: RecipeClips) -> int:
    """Count the folds that are tested."""
    return len({one.fold for one in clips.everything if one.fold >= 0}) or recipe.num_folds


def find_pending(path: Path, clips: RecipeClips, features: tuple[str, ...]) -> Pending:
    """Compare clips with a cache, as the extraction does: by size and time. Of a cache that lacks a feature all are read."""
    if not (path.exists() or staging_path(path).exists()):
        return Pending(inputs=clips.inputs)
    cache = open_cache(path)
    table = cache.clips
    stamps = zip(table.source_bytes, table.source_mtime_ns, strict=True)
    there = {name: (int(size), int(time)) for name, (size, time) in zip(table.ids, stamps, strict=True)}
    known = {one.id: (one.source.num_bytes, one.source.mtime_ns) for one in cache.failures} | there
    stale = [one for one in clips.inputs if clips.stamps[one.id] != known.get(one.id)]
    changed = sum(one.id in there for one in stale)
    lacks = not set(features) <= set(cache.features)
    return Pending(inputs=clips.inputs if lacks else tuple(stale), changed=changed)


def training_halves(clips: RecipeClips) -> dict[str, list[Input]]:
    """Return the clips that each fold learns from."""
    folds = sorted({one.fold for one in clips.everything if one.fold >= 0})
    if folds:
        return {f"fold{fold}": [one for one in clips.inputs if one.fold != fold] for fold in folds}
    return {"split": [one for one in clips.inputs if one.split == "train"]}


def fit_batch(
    recipe: DatasetRecipe, clips: RecipeClips, config: TrainConfig, *, is_set: bool = False
) -> tuple[TrainConfig, str]:
    """Return a configuration whose batch a part of a data set can fill, and what changed in words; refuse what cannot be learnt from."""
    for name, half in training_halves(clips).items():
        classes = {one.label for one in half}
        if len(classes) < 2:
            raise UsageError(
                f"{recipe.protocol} on {clips.partial or len(clips.everything)}: {name} learns from {counted(len(half), 'clip')} of "
                f"{', '.join(sorted(map(str, classes))) or 'no class'}, and it takes two classes.",
                remedy=f"--limit {max(24, 2 * len(clips.everything))}, or the whole data set",
            )
    fewest = min(len(half) for half in training_halves(clips).values())
    batch = config.loop.batch
    if batch <= fewest:
        return config, ""
    if is_set or not clips.partial:
        raise UsageError(
            f"A step takes {counted(batch, 'clip')}, and a fold of {clips.partial or recipe.protocol} learns from {fewest}.",
            remedy=f"--set {BATCH}={fewest}",
        )
    smaller = replace(config, loop=replace(config.loop, batch=fewest))
    return smaller, f"a step takes {counted(fewest, 'clip')} in place of {batch}: a fold learns from no more"


def estimate_frames(inputs: Sequence[Input]) -> int:
    """Estimate the frames of clips from a few of them, by what their files declare; 0 where these do not say."""
    from ..extract.video.source import open_source

    step = max(1, len(inputs) // SAMPLED)
    counts = []
    for one in inputs[::step][:SAMPLED]:
        try:
            if one.kind == "frames":
                counts.append(len(list_images(one.path)))
            else:
                with open_source(one.path, one.kind) as video:
                    counts.append(video.info.declared)
        except (EstError, OSError):
            continue
    known = [count for count in counts if count > 0]
    return round(len(inputs) * sum(known) / len(known)) if known else 0


def _duration(seconds: float) -> str:
    """Say roughly how long."""
    for unit, size in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
