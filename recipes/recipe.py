"""A data set's recipe: which clips, which folds and which training, so that numbers of different people can stand in one table.

The protocol is what makes two numbers comparable: the clips, the classes, who is tested in which fold, what counts as wrong. It has a
version, which goes up whenever one of these changes. Model, weights, preset and seeds may be chosen; a card says which they were.

(The recipe of a cache, `cache/recipe.py`, is another thing: how its rows were made.)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

# given: the data set's own folds or halves. blocks and turns: subjects in the order of their names, in equal runs, or assigned in turn.
FoldRule = Literal["given", "blocks", "turns"]
SEEDS = (1, 2, 3)


@dataclass(frozen=True, kw_only=True)
class Rendering:
    """The clips of a recipe whose data the project renders itself, as `RenderSpec` takes them."""

    subjects: int
    clips_per_subject: int
    difficulty: float
    size: tuple[int, int]
    fps: int
    seed: int


@dataclass(frozen=True, kw_only=True)
class DatasetRecipe:
    """What `est recipe run NAME` does."""

    name: str
    title: str
    version: int = 1  # of the protocol
    what: str  # clips and folds, in words
    folds: FoldRule = "given"
    num_folds: int = 1
    split: str = ""  # only clips of this split
    clips: tuple[int, ...] = ()  # labelled clips in published work; empty if not published
    subjects: int = 0  # 0 where people are not known
    weights: str = "imagenet"
    size: int = 224
    model: str = "est"
    preset: str = "fast"
    seeds: tuple[int, ...] = SEEDS
    settings: Mapping[str, Any] = field(default_factory=dict)  # of the training, above the preset
    rendering: Rendering | None = None  # the project's own data, in place of a folder

    @property
    def protocol(self) -> str:
        """Name the protocol as cards do."""
        return f"{self.name} protocol {self.version}"

    @property
    def kind(self) -> str:
        """Return the protocol that the training is asked for: a data set's own, or the folds that this recipe has dealt."""
        return self.name if self.folds == "given" else "folds"
