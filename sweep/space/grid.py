"""The points of a space whose points can be counted, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ...train.config.configfile import MODEL
from .setting import Setting
from .space import Space, Values, holds


def points(space: Space) -> Iterator[dict[str, Any]]:
    """Yield each point of a finite space as the parameters of an Optuna trial."""
    space.expect_finite()
    drawn = any(setting.key == MODEL for setting in space.settings)
    for model in space.models:
        settings = [setting for setting in space.settings_of(model) if setting.key != MODEL]
        first = {MODEL: model} if drawn else {}
        yield from _points(settings, {MODEL: model, **space.fixed_of(model)}, first)


def _points(settings: list[Setting], values: Values, point: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if not settings:
        yield point
        return
    first, *rest = settings
    if not holds(first, values):
        yield from _points(rest, values, point)
        return
    for value in first.grid():
        settled = first.settled(value)
        yield from _points(rest, {**values, first.key: settled}, {**point, first.name: value})
