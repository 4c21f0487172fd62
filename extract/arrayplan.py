"""What is to be made of crops that are there: arrays, and which encoders make their rows.

Several encoders may make the rows of one array, each those of some clips, so that the rows of a clip come from weights that have not learnt
from it. What all rows count as learnt from is then the record of the encoder that has seen every part's clips.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ..cache import Cache, FeatureRecipe, FramesRecipe
from ..cache.recipe import canonical_json
from ..cache.trained import TrainedOn
from ..crops.views import ViewConfig
from ..encoders.engines.preparation import PreparedEncoder
from ..encoders.weights import Weights
from ..errors import EstError, UsageError, counted
from .config import ExtractConfig
from .flow.field import FIELD
from .planning.preparation import describe
from .recipes import feature_recipe
from .workers.device_worker import FLIP

VIEW = "_view"  # behind an array's name, with the number: of crops that were changed
SHOWN = 5  # clips that a message names


@dataclass(frozen=True, kw_only=True, eq=False)
class ArrayPlan:
    """An array to be made."""

    name: str  # gap, gap_fold1
    weights: Weights  # of all clips that `parts` do not name
    tap: str = "gap"
    fold: str = ""  # of a protocol, whose training half the weights have seen
    parts: Sequence[tuple[Weights, frozenset[str]]] = ()  # encoders for some clips, by their ids
    cross_fit: str = ""  # how the recipe names the parts: their number and digest, where it is left out

    def __post_init__(self) -> None:
        assert self.parts or not self.cross_fit, "without parts all rows come from one encoder"
        if self.parts and not self.cross_fit:
            text = canonical_json([[weights.digest, sorted(ids)] for weights, ids in self.parts])
            digest = hashlib.sha256(text.encode()).hexdigest()[:16]
            object.__setattr__(self, "cross_fit", f"{len(self.parts)} parts, {digest}")

    @property
    def encoders(self) -> list[Weights]:
        """Return all weights, those of `parts` behind."""
        return [self.weights, *(weights for weights, _ in self.parts)]

    @cached_property
    def encoder_of(self) -> dict[str, int]:
        """Return which of the encoders makes the rows of a clip, where it is not the first."""
        return {clip: number for number, (_, ids) in enumerate(self.parts, start=1) for clip in ids}

    def expect_apart(self, cache: Cache) -> None:
        """Refuse parts that are no parts, that have learnt from the clips whose rows they make, or from more than the record tells."""
        known = {*cache.ids, *(failure.id for failure in cache.failures)}
        if unknown := sorted(self.encoder_of.keys() - known):
            raise UsageError(f"The parts of {self.name!r} name clips that {cache.path} has not: {_some(unknown)}.")
        if sum(len(ids) for _, ids in self.parts) != len(self.encoder_of):
            raise UsageError(f"The parts of {self.name!r} share clips; the rows of a clip come from one encoder.")
        for weights, ids in self.parts:
            mine, theirs = ((w.backbone.name, w.backbone.normalization.name) for w in (self.weights, weights))
            if mine != theirs:
                raise UsageError(
                    f"The rows of {self.name!r} come from encoders of one kind, for pixels of one kind; "
                    f"{self.weights.name} is {' for '.join(mine)}, {weights.name} is {' for '.join(theirs)}."
                )
            learnt = set() if weights.trained_on is None else set(weights.trained_on.clips)
            own = [] if weights.trained_on is None else _known(weights.trained_on, sorted(ids))
            if own:
                raise EstError(
                    f"{weights.name} has learnt from {len(own)} of the {len(ids)} clips whose rows of {self.name!r} it is to make: "
                    f"{_some(own)}.",
                    remedy="tune it on the other parts alone, from weights that have not seen these clips either",
                )
            told = set() if self.weights.trained_on is None else set(self.weights.trained_on.clips)
            if more := sorted(learnt - told):
                raise EstError(
                    f"{weights.name} has learnt from clips that {self.weights.name} has no record of, so the leak check could not "
                    f"find them in {self.name!r}: {_some(more)}.",
                    remedy="use weights for the other clips that have learnt from every part",
                )


@dataclass(frozen=True, kw_only=True, eq=False)
class Pass:
    """Arrays of the same encoders, made in one pass over the crops."""

    plan: ArrayPlan  # the first of them, which knows the encoders
    recipes: Mapping[str, FeatureRecipe]

    @property
    def taps(self) -> tuple[str, ...]:
        """Name what the encoders are asked for."""
        return tuple(dict.fromkeys(recipe.tap for recipe in self.recipes.values()))

    def lacking(self, missing: Mapping[str, FeatureRecipe]) -> Pass | None:
        """Return it with the arrays that are missing; None where none is."""
        recipes = {name: recipe for name, recipe in self.recipes.items() if name in missing}
        return replace(self, recipes=recipes) if recipes else None

    def describe(self) -> Iterator[str]:
        """Return what the rows come from."""
        yield from describe(self.plan.weights)
        if self.plan.parts:
            yield f"rows of {counted(len(self.plan.encoder_of), 'clip')} come from other weights ({self.plan.cross_fit})"


def passes_of(
    plans: Sequence[ArrayPlan],
    frames: FramesRecipe,
    config: ExtractConfig,
    encoders: Mapping[int, PreparedEncoder],
    *,
    views: int,
    view_config: ViewConfig,
) -> list[Pass]:
    """Write down everything that rows depend on; plans with the same weights are made in one pass.

    `encoders` are those of all weights, by their `id`.
    """
    found: dict[tuple[object, ...], Pass] = {}
    names: set[str] = set()
    for plan in plans:
        recipes = _recipes(plan, frames, config, encoders, views=views, view_config=view_config)
        if twice := sorted(names & recipes.keys()):
            raise UsageError(f"Two arrays are named {twice[0]!r}.")
        names |= recipes.keys()
        key = (id(plan.weights), *((id(weights), ids) for weights, ids in plan.parts))
        earlier = found.get(key)
        found[key] = (
            Pass(plan=plan, recipes=recipes)
            if earlier is None
            else replace(earlier, recipes={**earlier.recipes, **recipes})
        )
    return list(found.values())


def _recipes(
    plan: ArrayPlan,
    frames: FramesRecipe,
    config: ExtractConfig,
    encoders: Mapping[int, PreparedEncoder],
    *,
    views: int,
    view_config: ViewConfig,
) -> dict[str, FeatureRecipe]:
    """Return the recipes of an array, of its mirror image where that is asked for, and of its views."""
    if plan.tap == FIELD:
        raise UsageError(
            f"The feature {FIELD} is not made by an encoder, and cannot be made from crops.",
            remedy="est extract INPUT --modality flow --features gap,flow, which adds it to a cache that lacks it",
        )
    recipe = feature_recipe(frames, plan.weights, plan.tap, config, [encoders[id(one)] for one in plan.encoders])
    recipe = replace(recipe, fold=plan.fold, cross_fit=plan.cross_fit)
    return {
        name: replace(recipe, mirrored=mirrored, view=view, look=view_config.describe() if view else "")
        for name, (mirrored, view) in array_names(plan.name, flip=config.flip, views=views).items()
    }


def array_names(name: str, *, flip: bool, views: int) -> dict[str, tuple[bool, int]]:
    """Name the arrays that come of one: itself, its mirror image, its views; each with whether it is mirrored, and which view."""
    mirrored = {name + FLIP: (True, 0)} if flip else {}
    return {name: (False, 0), **mirrored, **{f"{name}{VIEW}{view}": (False, view) for view in range(1, views + 1)}}


def _known(record: TrainedOn, ids: Sequence[str]) -> list[str]:
    """Return which of some ids a record has, by name or as hashes."""
    return [one for one, known in zip(ids, record.knows_clips(ids).tolist(), strict=True) if known]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (" …" if len(names) > SHOWN else "")
