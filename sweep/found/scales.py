"""The settings that differ between trials, how each is written, and the scale it is drawn and compared on."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

from ...errors import counted
from ...report.ticks import TICKS, linear_ticks, log_ticks

LOG_FROM = 20.0  # positive numbers that span a larger factor were drawn on a log scale, as far as values can tell
FEW = 6  # different numbers, each of which stands on the axis
NEAREST = 0.06  # of an axis, between two texts


def shown(value: Any) -> str:
    """Write a setting in short form: 0.0003, 3e-5, true, none."""
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        digits = f"{value:.4g}"
        number, _, power = digits.partition("e")
        return f"{number}e{int(power)}" if power else digits
    if isinstance(value, list | tuple):
        return ", ".join(map(shown, value))
    return str(value)


def number_range(numbers: Sequence[int], noun: str) -> str:
    """Write counts from least to most, with what they count: 18 to 20 trials, 20 trials, 1 trial."""
    low, high = min(numbers), max(numbers)
    return counted(high, noun) if low == high else f"{low} to {counted(high, noun)}"


def exact(value: Any) -> str:
    """Write a setting with every digit."""
    if isinstance(value, str):
        return value
    return "none" if value is None else json.dumps(value, ensure_ascii=False, default=str)


def keys_of(settings: Iterable[Mapping[str, Any]]) -> tuple[str, ...]:
    """Name all settings, in order of appearance."""
    return tuple(dict.fromkeys(key for one in settings for key in one))


def varied(settings: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Name the settings that have two values or more among the trials that have them."""
    return tuple(key for key in keys_of(settings) if len({exact(one[key]) for one in settings if key in one}) > 1)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """How values lie between 0 and 1: by number, by logarithm, or in equal steps for choices."""

    kind: Literal["linear", "log", "choice"]
    low: float = 0.0
    high: float = 1.0
    whole: bool = False  # integers only
    choices: tuple[str, ...] = ()
    few: tuple[float, ...] = ()  # the numbers, where they are few

    @classmethod
    def of(cls, values: Sequence[Any]) -> Self:
        """Return the scale that suits the values that a setting had."""
        numbers = [float(value) for value in values if _is_number(value)]
        if not numbers or len(numbers) < len(values):
            return cls(kind="choice", choices=tuple(dict.fromkeys(map(shown, sorted(values, key=_order)))))
        low, high = min(numbers), max(numbers)
        log = low > 0 and high / low > LOG_FROM
        whole = all(isinstance(value, int) for value in values)
        few = tuple(sorted(set(numbers)))
        return cls(kind="log" if log else "linear", low=low, high=high, whole=whole, few=few if len(few) <= FEW else ())

    def place(self, value: Any) -> float:
        """Return where a value lies, 0 to 1; in the middle where all are equal."""
        if self.kind == "choice":
            last = len(self.choices) - 1
            return self.choices.index(shown(value)) / last if last > 0 else 0.5
        low, high, at = (
            (math.log(self.low), math.log(self.high), math.log(value))
            if self.kind == "log"
            else (self.low, self.high, float(value))
        )
        return min(max((at - low) / (high - low), 0.0), 1.0) if high > low else 0.5

    def ticks(self, most: int = TICKS) -> list[tuple[float, str]]:
        """Return places and texts of an axis, `most` at most of choices and about so many of numbers."""
        if self.kind == "choice":
            every = math.ceil(len(self.choices) / most)
            return [(self.place(choice), choice) for choice in self.choices[::every]]
        numbers = log_ticks(self.low, self.high) if self.kind == "log" else linear_ticks(self.low, self.high)
        if self.whole:
            numbers = [number for number in numbers if number == round(number)]
        if len(numbers) < 2:  # none that is round lies between: the ends
            numbers = sorted({self.low, self.high})
        found: list[tuple[float, str]] = []
        for number in self.few or numbers:
            place = self.place(number)
            if not found or place - found[-1][0] >= NEAREST:
                found.append((place, shown(int(number) if self.whole else number)))
        return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _order(value: Any) -> tuple[bool, float, str]:
    """Return what choices are sorted by: numbers first."""
    return (not _is_number(value), float(value) if _is_number(value) else 0.0, shown(value))
