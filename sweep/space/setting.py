"""One setting that a sweep varies: its choices or its range, and the condition under which it is drawn. No Optuna, no torch.

Optuna wants one name for one distribution, so a setting that holds for a single model has that model in its name: `gru:model.layers`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from ...errors import UsageError

Number = int | float
NEAR = 1e-8  # of a whole number of steps, as for Optuna


def key_of(name: str) -> str:
    """Return the configuration key of an Optuna parameter: `gru:model.layers` → `model.layers`."""
    return name.rpartition(":")[2]


def name_of(key: str, model: str = "") -> str:
    """Return the Optuna parameter of a configuration key: that of all models, or of one."""
    return f"{model}:{key}" if model else key


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A key with either `choices` or a range from `low` to `high`, both included; whole numbers stay whole."""

    key: str
    model: str = ""  # the model that it holds for; empty: every model that has the key
    choices: tuple[Any, ...] = ()
    low: Number | None = None
    high: Number | None = None
    log: bool = False
    step: Number | None = None
    when: Mapping[str, tuple[Any, ...]] = field(
        default_factory=dict
    )  # drawn only where all of these settings have one of the values

    def __post_init__(self) -> None:
        has_range = self.low is not None or self.high is not None
        if has_range and self.choices:
            raise UsageError(f"{self.name} has choices and a range.", remedy="leave out low and high, or choices")
        if has_range:
            self._expect_range()
        else:
            self._expect_choices()

    @property
    def name(self) -> str:
        """Return the name of its Optuna parameter."""
        return name_of(self.key, self.model)

    @property
    def bounds(self) -> tuple[Number, Number]:
        """Return the ends of its range."""
        assert self.low is not None, self.name
        assert self.high is not None, self.name
        return self.low, self.high

    @property
    def is_finite(self) -> bool:
        """Return whether its values can be counted."""
        return bool(self.choices) or isinstance(self.low, int) or self.step is not None

    @property
    def varies(self) -> bool:
        """Return whether it has more than one value."""
        return len(self.choices) != 1

    def suggest(self, trial: Any) -> Any:
        """Draw a value by an Optuna trial."""
        if self.choices:
            return trial.suggest_categorical(self.name, self.choices)
        if isinstance(self.low, int):
            return trial.suggest_int(self.name, self.low, self.high, step=self.step or 1, log=self.log)
        return trial.suggest_float(self.name, self.low, self.high, step=self.step, log=self.log)

    def grid(self) -> tuple[Any, ...]:
        """Return its values in order."""
        assert self.is_finite, self.name
        if self.choices:
            return self.choices
        low, high, step = (Decimal(str(number)) for number in (*self.bounds, self.step or 1))
        return tuple(type(self.bounds[0])(low + step * place) for place in range(int((high - low) / step) + 1))

    def ends(self) -> tuple[Any, ...]:
        """Return the values to check it at: every choice, or both bounds."""
        return self.choices or self.bounds

    def contains(self, value: Any) -> bool:
        """Return whether it can have a value."""
        if self.choices:
            return value in self.choices
        low, high = self.bounds
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            return False
        if isinstance(low, int) and value != int(value):
            return False
        steps = 0.0 if self.step is None else (value - low) / self.step
        return abs(steps - round(steps)) < NEAR

    def settled(self, value: Any) -> Any:
        """Return a value that was drawn without the rounding error of its steps: 0.3 for 0.30000000000000004."""
        if self.step is None or not isinstance(self.low, float) or not isinstance(value, int | float):
            return value
        return float(Decimal(str(self.low)) + Decimal(str(self.step)) * round((value - self.low) / self.step))

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` reads, without what is not used."""
        found: dict[str, Any] = {"key": self.key} | ({"model": self.model} if self.model else {})
        if self.choices:
            found["choices"] = list(self.choices)
        else:
            found |= {"low": self.low, "high": self.high, "log": self.log, "step": self.step}
        return found | ({"when": {key: list(values) for key, values in self.when.items()}} if self.when else {})

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Setting:
        """Read what `to_json` returned."""
        lists: dict[str, Any] = {"choices": tuple(found.get("choices", ()))}
        lists["when"] = {key: tuple(values) for key, values in found.get("when", {}).items()}
        return cls(**{**found, **lists})

    def __str__(self) -> str:
        """Return its values in words: `0.0001 to 0.003 (log) when loop.optimizer is adamw`."""
        if self.choices:
            text = either(self.choices)
        else:
            low, high = self.bounds
            text = f"{word(low)} to {word(high)}" + (" (log)" if self.log else "")
            text += f" in steps of {word(self.step)}" if self.step is not None else ""
        conditions = [f"{key} is {either(values)}" for key, values in self.when.items()]
        return text + (f" when {' and '.join(conditions)}" if conditions else "")

    def _expect_choices(self) -> None:
        """Refuse no choices, a choice given twice, and choices that are lists or not finite."""
        if not self.choices:
            raise UsageError(
                f"{self.name} has neither choices nor a range.", remedy=f"{_last(self.key)} = [first, second]"
            )
        for value in self.choices:
            if value is not None and not isinstance(value, bool | int | float | str):
                raise UsageError(
                    f"A choice of {self.name} is a single value, found {value!r}.", remedy="leave out the inner list"
                )
            if isinstance(value, float) and not math.isfinite(value):
                raise UsageError(f"A choice of {self.name} is finite, found {value}.", remedy="leave it out")
        twice = [value for place, value in enumerate(self.choices) if value in self.choices[:place]]
        if twice:
            raise UsageError(
                f"{self.name} has each choice once, found {in_toml(twice[0])} twice.", remedy="leave one out"
            )
        if self.step is not None or self.log:
            raise UsageError(f"log and step belong to a range, and {self.name} has choices.", remedy="leave them out")

    def _expect_range(self) -> None:
        """Refuse a range without numbers inside, and steps that do not lead from one end to the other."""
        for name in ("low", "high"):
            if getattr(self, name) is None:
                raise UsageError(f"{self.name} has a range without {name}.", remedy=f"{name} = a number")
        numbers = [number for number in (self.low, self.high, self.step) if number is not None]
        if not all(math.isfinite(number) for number in numbers):
            raise UsageError(
                f"The range of {self.name} is finite, found {self}.", remedy="give numbers for low and high"
            )
        if any(isinstance(number, float) for number in numbers):  # one kind of number
            for name in ("low", "high", "step"):
                object.__setattr__(self, name, None if getattr(self, name) is None else float(getattr(self, name)))
        low, high = self.bounds
        step = self.step
        if low >= high:
            remedy = f"low = {high:g}, high = {low:g}" if low > high else f"{_last(self.key)} = {in_toml(low)} fixes it"
            raise UsageError(f"The range of {self.name} has low below high, found {low:g} to {high:g}.", remedy=remedy)
        if self.log and low <= 0:
            raise UsageError(
                f"A log range begins above 0, and that of {self.name} begins at {low:g}.",
                remedy=f"low = {min(1, high) if isinstance(low, int) else high / 1000:g}, or log = false",
            )
        if step is None:
            return
        if self.log:
            raise UsageError(f"A log range has no step, and {self.name} has one.", remedy="leave out log or step")
        if step <= 0:
            raise UsageError(
                f"The step of {self.name} is above 0, found {step:g}.", remedy=f"step = {_some_step(low, high)}"
            )
        beside = (Decimal(str(high)) - Decimal(str(low))) % Decimal(str(step))
        if beside:
            fitting = type(high)(Decimal(str(high)) - beside)
            raise UsageError(
                f"Steps of {step:g} lead from {low:g} to {high:g} in {self.name}, found {float(beside):g} left over.",
                remedy=f"high = {fitting:g}" if fitting > low else f"step = {_some_step(low, high)}",
            )


def either(values: tuple[Any, ...] | list[Any]) -> str:
    """Write values as a choice: `30, 60 or 120`."""
    *others, last = map(word, values)
    return f"{', '.join(others)} or {last}" if others else last


def in_toml(value: Any) -> str:
    """Write a value as a file has it; None is "none"."""
    return json.dumps("none" if value is None else value, ensure_ascii=False)


def word(value: Any) -> str:
    """Write a value in a sentence."""
    return in_toml(value).strip('"')


def _some_step(low: Number, high: Number) -> str:
    return f"{1 if isinstance(low, int) else (high - low) / 10:g}"


def _last(key: str) -> str:
    return key.rpartition(".")[2]
