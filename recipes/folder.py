"""The folder in which a recipe runs, so that running the same command again resumes and another model uses the same cache.

OUT/recipe.json         which recipe, protocol, clips and encoder the folder is of; what is done
OUT/videos/             rendered clips, of a recipe that makes its own data
OUT/cache.zarr          the features
OUT/runs/MODEL/         a run for each model
OUT/cards/MODEL.json    its result card, and MODEL.md for people

A run whose clips are others by now is kept with its card, under a name that says when and why: est-until-2026-11-29T151207Z-clips-changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from ..errors import EstError, UsageError, damage_named, differing, quoted
from ..extract.config import ExtractConfig
from ..train.runs.files import read_json, write_json
from ..train.runs.run import Run
from .code import describe_code
from .recipe import DatasetRecipe

FORMAT, VERSION = "est-recipe-run", 1
FACTS, VIDEOS, CACHE, RUNS, CARDS = "recipe.json", "videos", "cache.zarr", "runs", "cards"
EXTRACTION = "extraction"  # beside the names of models
UNNAMED = ("device", "workers", "models_dir", "features", "crops", "timeout", "strict")  # change no row that is there


@dataclass(frozen=True, kw_only=True)
class RecipeFolder:
    """A folder, and what it is of."""

    path: Path
    facts: dict[str, Any]

    @classmethod
    def at(cls, path: Path, recipe: DatasetRecipe, limit: int | None, extraction: ExtractConfig) -> RecipeFolder:
        """Return the folder, new or as it is; refuse one of something else."""
        wanted = {
            "format": FORMAT,
            "version": VERSION,
            "recipe": recipe.name,
            "protocol": recipe.version,
            "limit": limit,
            "extraction": _named(extraction),
        }
        if not path.exists() or (path.is_dir() and not any(path.iterdir())):
            return cls(path=path, facts=wanted)
        if not (path / FACTS).is_file():
            what = "is a file" if path.is_file() else "contains something other than the run of a recipe"
            raise UsageError(f"{path} {what}.", remedy="--out another folder")
        known = read_json(path / FACTS)
        if known.get("format") != FORMAT or known.get("version") != VERSION:
            raise EstError(f"{path / FACTS} is not of this release.", remedy="--out another folder")
        with damage_named(path / FACTS, "--out another folder"):
            if known["recipe"] != recipe.name:
                raise UsageError(
                    f"{path} is of the recipe {known['recipe']}, found {recipe.name}.",
                    remedy=f"--out another folder, or est recipe run {known['recipe']} --out {quoted(path)}",
                )
            if known["protocol"] != recipe.version:
                raise UsageError(
                    f"{path} was started by {recipe.name} protocol {known['protocol']}, and this est has {recipe.protocol}.",
                    remedy="--out another folder, or the release of est that started it",
                )
            changed = {"--limit": (known["limit"], limit)} if known["limit"] != limit else {}
            then, now = known["extraction"], wanted["extraction"]
            changed |= {name: (then.get(name), now[name]) for name in now if then.get(name) != now[name]}
        if changed:
            raise UsageError(
                differing(path, changed),
                remedy="--out another folder, or the earlier settings",
            )
        return cls(path=path, facts=known)

    @property
    def cache(self) -> Path:
        """Return where the features lie."""
        return self.path / CACHE

    def run(self, model: str) -> Path:
        """Return where the run of a model lies."""
        return self.path / RUNS / model

    def card(self, model: str) -> Path:
        """Return where the card of a model lies."""
        return self.path / CARDS / f"{model}.json"

    def set_aside(self, model: str, why: Literal["clips-changed", "features-changed"]) -> Path:
        """Rename the run of a model and its card, so that a new one takes their place; return where the run lies now."""
        name = f"{model}-until-{datetime.now(UTC):%Y-%m-%dT%H%M%SZ}-{why}"
        kept, card = self.run(name), self.card(model)
        with Run.open(self.run(model)).alone():  # refuses one that another process trains
            self.run(model).rename(kept)
        for path in (card, card.with_suffix(".md")):
            if path.exists():
                path.rename(path.with_stem(name))
        return kept

    def is_extracted(self, digest: str, features: tuple[str, ...]) -> bool:
        """Return whether the cache holds these arrays of exactly these clips."""
        done = self.facts.get("extracted", {})
        return self.cache.exists() and done.get("clips") == digest and set(features) <= set(done.get("features", ()))

    def note_code(self, what: str) -> None:
        """Write down that this code has extracted, or trained a model."""
        self.note(code={**self.facts.get("code", {}), what: describe_code()})

    def code_of(self, model: str) -> dict[str, Any]:
        """Return which code trained a model, and the digest of the code that extracted."""
        known = self.facts.get("code", {})
        code = known.get(model) or describe_code()  # killed between its last part and the note
        return {**code, "extracted_by": known.get(EXTRACTION, code)["sources"]}

    def note(self, **facts: Any) -> None:
        """Write down what is done."""
        self.facts.update(facts)
        write_json(self.path / FACTS, self.facts)


def _named(config: ExtractConfig) -> dict[str, Any]:
    return {
        name: value
        for name, value in vars(config).items()
        if name not in UNNAMED and isinstance(value, str | int | float | type(None))
    }
