"""Which arrays of a cache are looked at: a feature, what it is of mirrored crops, its views, and whose fold it is.

Most caches hold one array of a feature, and every fold reads it. One that was tuned for a protocol holds an array for each fold, by an
encoder that has learnt from that fold's training half alone: there the feature `gap` is another array in every fold.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...cache import Cache, FeatureRecipe
from ...cache.recipe import IMPORTED
from ...encoders.taps import CLASS_TOKEN, TAPS
from ...errors import UsageError, nearest, quoted
from ...extract.command import command_that_adds, room_for
from ..models.contract import CROPS, ModelConfig

if TYPE_CHECKING:
    from ..config.config import TrainConfig


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """What the models of a fold read."""

    plain: str
    others: tuple[str, ...] = ()  # in training some clips are shown by these instead: mirrored, views


def arrays_of(cache: Cache, config: TrainConfig, fold: str, *, beside: Sequence[str] = ()) -> Arrays:
    """Find what is read in a fold, or say what is missing; the command that adds it adds also what is missing of `beside`."""
    data = config.data
    if config.model.reads == CROPS:
        raise UsageError(
            f"The model {config.model.name} reads crops, found arrays of features.",
            remedy="use est train, which gives it crops",
        )
    if config.model.of_windows:
        expect_windows(cache, config.feature)
        plain = config.feature
    else:
        reader = config.model.name if config.model.reads else ""
        plain = array_of_fold(cache, config.feature, fold, reader=reader, beside=beside)
    others: tuple[str, ...] = ()
    if data.mirrored:
        mirrored = mirrored_name(cache, plain)
        if mirrored is None:
            raise UsageError(
                f"{cache.path} has no features of mirrored crops for {plain!r}.",
                remedy="est extract … --flip adds them",
            )
        others += (mirrored,)
    if data.views:
        views = views_of(cache, plain)
        if not views:
            raise UsageError(
                f"{cache.path} has no views of {plain!r}.",
                remedy=f"est extract --from {quoted(cache.path)} … --views 3 --out ANOTHER makes a cache with views",
            )
        others += views
    return Arrays(plain=plain, others=others)


def array_of_fold(cache: Cache, feature: str, fold: str, *, reader: str = "", beside: Sequence[str] = ()) -> str:
    """Return the array of that name, or the one that was made of this tap for a fold."""
    if feature in cache.features:
        return feature
    tuned = {name: recipe for name, recipe in _plain(cache) if recipe.tap == feature and recipe.fold}
    if not tuned:
        expect_here(cache, feature, reader=reader, beside=beside)
    found = next((name for name, recipe in tuned.items() if recipe.fold == fold), None)
    if found is None:
        folds = [recipe.fold for recipe in tuned.values()]
        raise UsageError(
            f"{cache.path} has {feature} for the folds {', '.join(folds)}, and none for {fold}.",
            remedy=f"the protocol that it was tuned for, or --fold {folds[0]}",
        )
    return found


def mirrored_name(cache: Cache, feature: str) -> str | None:
    """Find the array that holds a feature of mirrored crops."""
    return next((name for name in cache.features if _is_mirror(cache, feature, name)), None)


def views_of(cache: Cache, feature: str) -> tuple[str, ...]:
    """Find the views of an array, in their order."""
    found = [name for name in cache.features if _is_view(cache, feature, name)]
    return tuple(sorted(found, key=lambda name: cache.recipes.features[name].view))


def black_row(cache: Cache, feature: str) -> Tensor:
    """Return what the backbone makes of a black crop.  # → (D,)"""
    if feature not in cache.black:
        raise UsageError(
            f"{cache.path} has no record of {feature!r} of a black image.",
            remedy="extract the clips again: est extract records it for flat features",
        )
    return torch.tensor(cache.black[feature])


def expect_here(cache: Cache, feature: str, *, reader: str = "", beside: Sequence[str] = ()) -> None:
    """Refuse a feature that is not here, and that was asked for or that a model, `reader`, reads.

    The command that adds it adds also what is missing of `beside`: of two commands the later one would leave out what the first has added.
    """
    if feature in cache.features:
        return
    if feature in cache.window_features:
        others = f", or --feature {cache.features[0]}" if cache.features else ""
        raise UsageError(
            f"{feature!r} of {cache.path} has a row for each window, and {reader or 'the model'} reads frames.",
            remedy=f"--model window-head, which reads windows{others}",
        )
    there = cache.told_features()
    if cache.window_features:
        there += f", and {cache.told_features(of_windows=True)}"
    said = (
        f"{reader} reads {feature}, which {cache.path} lacks: it has {there}."
        if reader
        else f"{cache.path} has {there}, asked for {feature!r}."
    )
    raise UsageError(
        f"{said} {room_for(cache, feature)}".rstrip(),
        remedy=_adding(cache, feature, beside),
    )


def _adding(cache: Cache, feature: str, beside: Sequence[str]) -> str:
    """Return what gives a cache a feature, or names another one."""
    near = nearest(feature, cache.features)
    if cache.window_features and not cache.features:
        return f"--model window-head --feature {cache.window_features[0]}"
    if cache.recipes.frames.decoder == IMPORTED:
        flat = [name for name, recipe in cache.recipes.features.items() if len(recipe.shape) == 1 and not recipe.window]
        adds = f"est cache import … --feature {feature} --into {quoted(cache.path)} adds it"
        return f"--feature {near or flat[0]}, or {adds}" if flat and feature not in TAPS[1:] else adds
    if feature in (*TAPS, CLASS_TOKEN):
        absent = [name for name in beside if name not in cache.features]
        return command_that_adds(cache, *dict.fromkeys([*absent, feature]))
    return f"--feature {near[0] if near else 'with one of them'}"


def expect_windows(cache: Cache, feature: str) -> None:
    """Refuse what is no flat feature of windows."""
    there = cache.window_features
    if feature not in there:
        name = there[0] if there else "NAME"
        adds = f"est cache import … --feature {name} --window N --stride N --by … makes a cache with windows"
        raise UsageError(
            f"The model reads windows, and {cache.path} has {cache.told_features(of_windows=True)}"
            + (f", asked for {feature!r}." if feature else "."),
            remedy=f"--feature {name}" if there else adds,
        )
    if len(shape := cache.recipes.features[feature].shape) != 1:
        raise UsageError(
            f"{feature!r} of {cache.path} has maps of {shape} for each window, and the model reads flat features."
        )


def expect_read_by(cache: Cache, model: ModelConfig, feature: str, *, beside: Sequence[str] = ()) -> None:
    """Refuse a feature that a model cannot read."""
    if model.of_windows:
        expect_windows(cache, feature)
    else:
        reader = model.name if model.reads else ""
        expect_shape(cache, feature, maps=bool(model.reads), reader=reader, beside=beside)


def expect_shape(cache: Cache, feature: str, *, maps: bool, reader: str = "", beside: Sequence[str] = ()) -> None:
    """Refuse a feature that is not here, a map where a flat one is wanted, or the other way round."""
    expect_here(cache, feature, reader=reader, beside=beside)
    shape = cache.recipes.features[feature].shape
    if maps and len(shape) == 1:
        raise UsageError(
            f"{feature!r} of {cache.path} is flat, and the model reads maps.",
            remedy="another cache: est cache info shows shapes",
        )
    if not maps and len(shape) != 1:
        flat = [name for name, recipe in cache.recipes.features.items() if len(recipe.shape) == 1]
        raise UsageError(
            f"{feature!r} of {cache.path} is a map of {' × '.join(map(str, shape))} per frame; snippets are made of flat features.",
            remedy=f"choose {' or '.join(flat)}" if flat else "est extract … --features gap adds one",
        )


def expect_other(cache: Cache, feature: str, name: str) -> None:
    """Refuse an array that does not show the same feature of the same clips."""
    if not _is_mirror(cache, feature, name) and not _is_view(cache, feature, name):
        raise UsageError(
            f"{cache.path} has no array {name!r} that is {feature!r} of mirrored crops, or a view of it.",
            remedy="est extract … --flip caches mirrored ones, est extract --from … --views views",
        )


def _plain(cache: Cache) -> Iterable[tuple[str, FeatureRecipe]]:
    """Yield the arrays that are neither mirrored nor views."""
    return (
        (name, recipe) for name, recipe in cache.recipes.features.items() if not recipe.mirrored and not recipe.view
    )


def _is_mirror(cache: Cache, feature: str, name: str) -> bool:
    """Return whether an array is made as another one, but from mirrored crops."""
    recipe, other = cache.recipes.features[feature], cache.recipes.features.get(name)
    return not recipe.mirrored and other == replace(recipe, mirrored=True)


def _is_view(cache: Cache, feature: str, name: str) -> bool:
    """Return whether an array is made as another one, but from crops that were changed."""
    recipe, other = cache.recipes.features[feature], cache.recipes.features.get(name)
    return other is not None and not recipe.view and other.view > 0 and replace(other, view=0, look="") == recipe
