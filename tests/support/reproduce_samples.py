"""Recipes of `est reproduce` whose rows train in a moment."""

from __future__ import annotations

from est.sweep.reproduce.recipe import Recipe

TINY = ("model.dim=16", "model.ffn=32", "model.order_hidden=16")
TWO_FOLDS = {"protocol.kind": "kfold", "protocol.folds": 2, "device": "cpu", "loop.threads": 1}


def recipe(*settings, epochs=2, seeds=(1, 2), **options):
    """Return a recipe of a tiny model in two folds."""
    return Recipe(settings=(*TINY, *settings), options={**TWO_FOLDS, "loop.epochs": epochs, "seeds": seeds, **options})
