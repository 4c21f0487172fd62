"""What a sweep searches: settings that are drawn, and others that are fixed. No Optuna here: a trial is passed in.

Settings are drawn in their order, the model first; a condition refers to settings before it. Values are plain configuration keys, as
`to_flat` has them; the parameters of an Optuna trial have names (`name_of`, `key_of`), which differ where a setting is one model's own.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import UsageError, some
from ...train.config.config import TrainConfig
from ...train.config.configfile import MODEL, from_flat, known_keys, to_flat
from ...train.models.contract import ModelConfig
from ...train.models.registry import DEFAULT, config_class
from .setting import Setting, either, key_of, name_of, word

SECTION = "model."  # whose keys are the model's own
Values = dict[str, Any]  # configuration key → value


@dataclass(frozen=True, kw_only=True)
class Space:
    """The settings of a search."""

    settings: tuple[Setting, ...]
    fixed: Mapping[str, Any] = field(default_factory=dict)  # by name, as settings are

    def __post_init__(self) -> None:
        names = [*(setting.name for setting in self.settings), *self.fixed]
        twice = [name for place, name in enumerate(names) if name in names[:place]]
        if twice:
            raise UsageError(f"{twice[0]} is in the search space twice.", remedy="leave one out")
        for model in self.models:
            config_class(model)
        for place, setting in enumerate(self.settings):
            if setting.key == MODEL and (place or setting.when or not setting.choices):
                raise UsageError(
                    f"{MODEL} comes first, has choices and no condition.", remedy=f'{MODEL} = ["est", "gru"]'
                )
            self._expect_conditions(setting)
        if not any(setting.varies for setting in self.settings):
            raise UsageError(
                "The search space varies nothing.",
                remedy="a list of choices or a range, for example loop.learning_rate = {low = 1e-4, high = 1e-3, log = true}",
            )

    @property
    def models(self) -> tuple[str, ...]:
        """Return the models that are searched."""
        drawn = [setting.choices for setting in self.settings if setting.key == MODEL]
        return drawn[0] if drawn else (self.fixed.get(MODEL, DEFAULT),)

    @property
    def finite(self) -> bool:
        """Return whether its points can be counted."""
        return all(setting.is_finite for setting in self.settings)

    def suggest(self, trial: Any) -> Values:
        """Draw a point by an Optuna trial."""
        return self.walk(lambda setting: setting.suggest(trial))

    def values_of(self, params: Mapping[str, Any]) -> Values:
        """Return what `suggest` returned, from the parameters of its trial (`trial.params`)."""
        return self.walk(lambda setting: params[setting.name])

    def walk(self, pick: Callable[[Setting], Any], model: str | None = None) -> Values:
        """Return the values of a point: those that are fixed, and what `pick` chooses for each setting whose condition holds."""
        first = [setting for setting in self.settings if setting.key == MODEL]
        name = model or (pick(first[0]) if first else self.models[0])
        values = {MODEL: name, **self.fixed_of(name)}
        for setting in self.settings_of(name):
            if setting.key != MODEL and holds(setting, values):
                values[setting.key] = setting.settled(pick(setting))
        return values

    def settings_of(self, model: str) -> tuple[Setting, ...]:
        """Return the settings that are drawn for a model."""
        return tuple(setting for setting in self.settings if self._is_for(setting.name, model))

    def fixed_of(self, model: str) -> Values:
        """Return what is fixed for a model, by key."""
        return {key_of(name): value for name, value in self.fixed.items() if self._is_for(name, model)}

    def configure(self, base: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
        """Return a configuration with values laid over it; the section [model] of another model does not count."""
        below = to_flat(base)
        if values.get(MODEL, below[MODEL]) != below[MODEL]:
            below = {key: value for key, value in below.items() if not key.startswith(SECTION)}
        return from_flat({**below, **values})

    def outside(self, config: TrainConfig) -> list[str]:
        """List in words, key first, where a configuration is not in the space; empty: it is in."""
        found: list[str] = []
        model, flat = config.model.name, to_flat(config)
        if model not in self.models:
            return [f"{MODEL} = {model}, not {either(self.models)}"]
        for key, value in self.fixed_of(model).items():
            pinned = Setting(key=key, choices=(value,))
            if not pinned.contains(_value(config, flat, pinned)):
                found.append(f"{key} = {word(flat[key])}, not {word(value)}")

        def pick(setting: Setting) -> Any:
            value = _value(config, flat, setting)
            if not setting.contains(value):
                found.append(f"{setting.key} = {word(value)}, not {setting}")
            return value

        self.walk(pick)
        return found

    def point_of(self, config: TrainConfig) -> dict[str, Any]:
        """Return a configuration as the parameters of an Optuna trial, or refuse one that is not in the space."""
        outside = self.outside(config)
        if outside:
            raise UsageError(
                f"The configuration is not in the search space: {some(outside, joint='; ')}.",
                remedy="add these values to the space, or change the configuration",
            )
        flat, point = to_flat(config), {}

        def pick(setting: Setting) -> Any:
            value = _value(config, flat, setting)
            kind = float if isinstance(setting.low, float) else int if isinstance(setting.low, int) else None
            same = [choice for choice in setting.choices if choice == value]
            point[setting.name] = setting.settled(kind(value)) if kind else same[0]
            return value

        self.walk(pick)
        return point

    def expect_finite(self) -> None:
        """Refuse a space whose points cannot be counted."""
        endless = [setting for setting in self.settings if not setting.is_finite]
        if endless:
            raise UsageError(
                f"A grid has countable values, and these have a range without steps: {some((s.name for s in endless), 10)}.",
                remedy="step = … in each (not with log), or a list of choices: "
                + "; ".join(f"{s.key} = [{s.low:g}, {s.high:g}]" for s in endless[:3]),
            )

    def size(self) -> int:
        """Return the number of points of a finite space."""
        self.expect_finite()
        return sum(self._count(self.settings_of(m), {MODEL: m, **self.fixed_of(m)}) for m in self.models)

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads."""
        return {"settings": [setting.to_json() for setting in self.settings], "fixed": dict(self.fixed)}

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Space:
        """Read what `to_json` returned."""
        return cls(settings=tuple(map(Setting.from_json, found["settings"])), fixed=found["fixed"])

    def digest(self) -> str:
        """Return a hash of what is searched; the order of settings does not count, that of choices does: Optuna compares them."""
        found = {setting.name: setting.to_json() for setting in self.settings}
        return hashlib.sha256(json.dumps([found, dict(self.fixed)], sort_keys=True).encode()).hexdigest()[:32]

    def differences(self, other: Space) -> dict[str, tuple[str, str]]:
        """Return what another space has otherwise, as `loop.epochs` → `30 or 60` here, `fixed at 80` there."""
        then, now = self._in_words(), other._in_words()
        absent = "not in the space"
        return {
            name: (then.get(name, absent), now.get(name, absent))
            for name in dict.fromkeys([*then, *now])
            if then.get(name) != now.get(name)
        }

    def _in_words(self) -> dict[str, str]:
        fixed = {name: f"fixed at {word(value)}" for name, value in self.fixed.items()}
        return {setting.name: str(setting) for setting in self.settings} | fixed

    def _is_for(self, name: str, model: str) -> bool:
        """Return whether something holds for a model: it has the key, and nothing of its own in this place."""
        key = key_of(name)
        if name != key:
            return name == name_of(key, model)
        own = name_of(key, model)
        replaced = own in self.fixed or any(setting.name == own for setting in self.settings)
        return not replaced and (not key.startswith(SECTION) or key in _keys(config_class(model)))

    def _count(self, settings: tuple[Setting, ...], values: Values) -> int:
        """Count the points of settings under values before them: only those are enumerated that conditions refer to."""
        if not settings:
            return 1
        first, *rest = settings
        rest = tuple(rest)
        if first.key == MODEL or not holds(first, values):
            return self._count(rest, values)
        if not any(first.key in setting.when for setting in rest):
            return len(first.grid()) * self._count(rest, values)
        return sum(self._count(rest, {**values, first.key: value}) for value in first.grid())

    def _expect_conditions(self, setting: Setting) -> None:
        """Refuse a setting that is never drawn, and conditions on what is not drawn before it."""
        models = [model for model in self.models if self._is_for(setting.name, model)]
        if not models:
            raise UsageError(
                f"{setting.name} is not used: no model of the space has it, or each has one of its own.",
                remedy="leave it out",
            )
        before = [Setting(key=MODEL, choices=tuple(models))]
        for model in models:
            own = self.settings_of(model)
            before += [
                Setting(key=key, choices=(value,)) for key, value in self.fixed_of(model).items() if key != MODEL
            ]
            before += [earlier for earlier in own[: own.index(setting)] if earlier.key != MODEL]
        for key, values in setting.when.items():
            sources = [earlier for earlier in before if earlier.key == key]
            if not sources:
                self._refuse_condition(setting, key)
            missing = [value for value in values if not any(_occurs(value, source) for source in sources)]
            if missing or not values:
                found = f"{key} is never {word(missing[0])}" if missing else f"{key} has no values in it"
                endless = all(not source.is_finite for source in sources)
                remedy = f"step = … or choices for {key}, which is drawn anywhere from" if endless else f"{key} is"
                raise UsageError(
                    f"The condition of {setting.name} cannot hold: {found}.",
                    remedy=f"{remedy} {'; or '.join(dict.fromkeys(map(str, sources)))}",
                )

    def _refuse_condition(self, setting: Setting, key: str) -> None:
        later = key == setting.key or any(other.key == key for other in self.settings)
        why = "is not drawn before it" if later else "is not in the search space"
        remedy = (
            f"put {key} above {setting.key}" if later else f"add {key} = [first, second], or leave the condition out"
        )
        if key == setting.key:
            remedy = "leave the condition out"
        raise UsageError(f"{setting.name} has a condition on {key}, which {why}.", remedy=remedy)


def holds(setting: Setting, values: Mapping[str, Any]) -> bool:
    """Return whether the condition of a setting holds; not where it refers to a setting that was not drawn."""
    return all(key in values and values[key] in allowed for key, allowed in setting.when.items())


def _occurs(value: Any, source: Setting) -> bool:
    """Return whether a setting can have exactly this value: a continuous range has none that can be expected."""
    return source.is_finite and source.contains(value)


def _value(config: TrainConfig, flat: Values, setting: Setting) -> Any:
    """Return the value of a configuration at a setting: for None what it stands for, unless None is a choice."""
    value = flat[setting.key]
    if value is None and setting.key.startswith(SECTION) and not setting.contains(None):
        return config.model.implied.get(setting.key.removeprefix(SECTION))
    return value


@functools.cache
def _keys(kind: type[ModelConfig]) -> frozenset[str]:
    return frozenset(known_keys(kind.name))
