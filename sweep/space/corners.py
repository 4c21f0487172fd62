"""Whether every configuration of a space is possible: tried at points where each two ends of different settings meet.

What a configuration refuses depends on one value or on two (a dim that is no multiple of the heads), so those points are enough, and
few: about the square of the longest list of choices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

from ...errors import UsageError
from ...train.config.config import TrainConfig
from ...train.config.configfile import MODEL
from .setting import Setting, word
from .space import Space, Values

End = tuple[str, Any]  # a key and one of its ends
Pair = frozenset[End]


def expect_possible(space: Space, base: TrainConfig) -> None:
    """Refuse a space that holds a configuration which cannot be trained."""
    for model in space.models:
        for values in corners(space, model):
            if _refusal(space, base, values) is not None:
                _refuse(space, base, values)


def corners(space: Space, model: str) -> Iterable[Values]:
    """Yield points of a model in which every two ends occur together that can."""
    settings = [setting for setting in space.settings_of(model) if setting.key != MODEL]
    by_key = {setting.key: setting for setting in settings}
    missing = dict.fromkeys(
        frozenset({(one.key, a), (other.key, b)})
        for one, other in combinations(settings, 2)
        for a in one.ends()
        for b in other.ends()
    )
    missing |= dict.fromkeys(frozenset({(one.key, a)}) for one in settings for a in one.ends())
    while missing:
        wanted = next(iter(missing))
        in_order = dict(
            sorted(wanted, key=lambda end: end[0])
        )  # a set has an order that differs from process to process
        point = space.walk(_Picker(_with_conditions(in_order, by_key), missing), model)
        ends = [(key, point[key]) for key in by_key if key in point]
        for met in [wanted, *map(frozenset, combinations(ends, 2)), *(frozenset({end}) for end in ends)]:
            missing.pop(met, None)
        yield point


class _Picker:
    """Chooses the ends that are wanted, else those that meet most others for the first time."""

    def __init__(self, wanted: Mapping[str, Any], missing: Mapping[Pair, None]) -> None:
        self.wanted, self.missing = wanted, missing
        self.chosen: list[End] = []

    def __call__(self, setting: Setting) -> Any:
        value = self.wanted.get(setting.key, None)
        if setting.key not in self.wanted:
            value = max(setting.ends(), key=lambda end: self._number_of_new(setting.key, end))
        self.chosen.append((setting.key, value))
        return value

    def _number_of_new(self, key: str, end: Any) -> int:
        return sum(frozenset({other, (key, end)}) in self.missing for other in self.chosen)


def _with_conditions(wanted: Values, by_key: Mapping[str, Setting]) -> Values:
    """Return what has to be chosen, too, for the wanted settings to be drawn at all."""
    found, waiting = dict(wanted), [*wanted]
    while waiting:
        for key, values in by_key[waiting.pop()].when.items():
            if key in by_key and key not in found:
                found[key] = values[0]
                waiting.append(key)
    return found


def _refusal(space: Space, base: TrainConfig, values: Mapping[str, Any]) -> UsageError | None:
    """Return what a configuration is refused with."""
    try:
        space.configure(base, values)
    except UsageError as error:
        return error
    return None


def _refuse(space: Space, base: TrainConfig, values: Values) -> None:
    """Report which values a configuration is refused for."""
    error = _refusal(space, base, values)
    assert error is not None
    keys = _curable(space, base, values)
    if not keys:
        values = _fewest(space, base, values)
        keys = [key for key in values if key != MODEL] or [MODEL]
        error = _refusal(space, base, values)
        assert error is not None
    names = " and ".join(f"{key} = {word(values[key])}" for key in keys)
    remedy = f"change {keys[0]} in the search space"
    if len(keys) > 1:
        remedy = f"change {' or '.join(keys)} in the search space, or give one a condition on the other: when = …"
    raise UsageError(f"{names} cannot be trained: {error.message}", remedy=remedy) from error


def _curable(space: Space, base: TrainConfig, values: Values) -> list[str]:
    """Return the settings of which another value would make the configuration possible."""
    return [
        setting.key
        for setting in space.settings_of(values[MODEL])
        if setting.key != MODEL and setting.key in values
        if any(_refusal(space, base, {**values, setting.key: end}) is None for end in setting.ends())
    ]


def _fewest(space: Space, base: TrainConfig, values: Values) -> Values:
    """Return no more values over the base than it takes to be refused."""
    for key in [*values]:
        fewer = {other: value for other, value in values.items() if other != key or key == MODEL}
        if _refusal(space, base, fewer) is not None:
            values = fewer
    return values
