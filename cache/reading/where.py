"""Conditions on clips, as `est cache ls --where` takes them: `coverage < 0.5 and not (label = fear or label = none)`.

The language is a column, an operator and a value, joined by and, or, not and parentheses; there is no more to it, and nothing in it is
ever executed. Whole columns are compared at once. What is unknown meets no comparison but `= none`.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import UsageError, nearest
from ..schema import NO_NUMBER

# name → numbers, NaN where unknown; whole numbers, NO_NUMBER where unknown; or texts, empty where there is none
Columns = Mapping[str, np.ndarray]

OPERATORS: Mapping[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "~": operator.contains,  # of texts: contains, in any case
}
JOINS = ("and", "or", "not")
NONE = "none"
OTHER_WORDS = {
    "frames": "count",
    "jitter": "box_jitter",
    "faces": "tracks",
    "emotion": "label",
    "class": "label",
    "person": "subject",
}
EXAMPLE = '--where "coverage < 0.5 and label = fear"'
WHOLE = re.compile(r"[+-]?[0-9]{1,30}")
DEEPEST = 50  # parentheses and nots within each other
TOKEN = re.compile(
    r"\s*(?:(?P<quoted>\"[^\"]*\"|'[^']*')|(?P<operator><=|>=|==|!=|[=<>~])|(?P<bracket>[()])|(?P<word>[^\s()=<>!~\"']+))"
)


@dataclass(frozen=True, kw_only=True)
class Token:
    """A piece of a condition, and where it stands."""

    kind: str
    text: str
    place: int


def where(condition: str, columns: Columns, count: int) -> np.ndarray:
    """Return which of `count` clips meet a condition.  # → (count,) bool"""
    return _Reader(condition, columns, count).read()


def named(name: str, columns: Columns, option: str = "--where") -> str:
    """Return the column of this name; refuse one that is not there, and name the nearest."""
    if name in columns:
        return name
    other = OTHER_WORDS.get(name.lower(), name.lower())
    near = other if other in columns else nearest(other, columns, cutoff=0.4)
    raise UsageError(
        f"{option} takes the columns {', '.join(columns)}; found {name!r}.",
        remedy=f"{option} with {near}" if near else EXAMPLE,
    )


def unknown(column: np.ndarray) -> np.ndarray:
    """Return where a column has no value."""
    kind = column.dtype.kind
    return np.isnan(column) if kind == "f" else column == (NO_NUMBER if kind == "i" else "")


class _Reader:
    """Recursive descent: or, and, not, a comparison or parentheses."""

    def __init__(self, condition: str, columns: Columns, count: int) -> None:
        self._condition, self._columns, self._count = condition, columns, count
        self._tokens = self._split()
        self._next = 0

    def read(self) -> np.ndarray:
        found = self._or(0)
        if self._next < len(self._tokens):
            raise self._wrong("'and', 'or' or the end")
        return found

    def _split(self) -> list[Token]:
        tokens, place = [], 0
        rest = len(self._condition.rstrip())
        while place < rest:
            match = TOKEN.match(self._condition, place)
            if match is None:
                raise UsageError(
                    f"--where {self._condition!r}: {self._condition[place:].strip()[:20]!r} is no column, operator or value.",
                    remedy=EXAMPLE,
                )
            tokens.append(Token(kind=str(match.lastgroup), text=match[str(match.lastgroup)], place=match.start()))
            place = match.end()
        return tokens

    def _or(self, depth: int) -> np.ndarray:
        found = self._and(depth)
        while self._takes("or"):
            found = found | self._and(depth)
        return found

    def _and(self, depth: int) -> np.ndarray:
        found = self._not(depth)
        while self._takes("and"):
            found = found & self._not(depth)
        return found

    def _not(self, depth: int) -> np.ndarray:
        if depth > DEEPEST:
            raise UsageError(f"--where is nested more than {DEEPEST} parentheses deep.", remedy=EXAMPLE)
        if self._takes("not"):
            return ~self._not(depth + 1)
        if self._takes("("):
            found = self._or(depth + 1)
            if not self._takes(")"):
                raise self._wrong("a closing parenthesis")
            return found
        return self._comparison()

    def _comparison(self) -> np.ndarray:
        name = self._take(("word", "quoted"), "a column")
        column = self._columns[named(_text(name), self._columns)]
        sign = self._take(("operator",), f"one of {' '.join(OPERATORS)} after {name.text}")
        value = self._take(("word", "quoted"), f"a value after {name.text} {sign.text}")
        return self._compared(_text(name), column, sign.text, value)

    def _compared(self, name: str, column: np.ndarray, sign: str, value: Token) -> np.ndarray:
        missing = unknown(column)
        if value.kind == "word" and value.text.lower() == NONE and sign in ("=", "==", "!="):
            return ~missing if sign == "!=" else missing
        if column.dtype.kind in "fi":
            if sign == "~":
                raise UsageError(f"--where {name} ~ …: {name} is a number, and ~ is for texts.", remedy=EXAMPLE)
            return OPERATORS[sign](column, _number(name, value)) & ~missing
        if sign == "~":
            part = _text(value).lower()
            return np.fromiter((part in words.lower() for words in column.tolist()), bool, self._count) & ~missing
        return np.asarray(OPERATORS[sign](column, _text(value)), bool) & ~missing

    def _takes(self, text: str) -> bool:
        token = self._tokens[self._next] if self._next < len(self._tokens) else None
        if token is None or token.kind == "quoted" or token.text.lower() != text:
            return False
        self._next += 1
        return True

    def _take(self, kinds: Sequence[str], expected: str) -> Token:
        token = self._tokens[self._next] if self._next < len(self._tokens) else None
        if token is None or token.kind not in kinds or (token.kind == "word" and token.text.lower() in JOINS):
            raise self._wrong(expected)
        self._next += 1
        return token

    def _wrong(self, expected: str) -> UsageError:
        ended = self._next >= len(self._tokens)
        found = "the end" if ended else repr(self._condition[self._tokens[self._next].place :].strip()[:20])
        return UsageError(f"--where {self._condition!r}: expected {expected}, found {found}.", remedy=EXAMPLE)


def _text(token: Token) -> str:
    return token.text[1:-1] if token.kind == "quoted" else token.text


def _number(name: str, token: Token) -> float | int:
    """Read 0.5, 50% and 12; whole numbers stay whole, so that long ones are compared digit by digit."""
    share = token.text.removesuffix("%")
    try:
        number = int(share) if WHOLE.fullmatch(share) else float(share)
    except ValueError:
        raise UsageError(f"--where: {name} is a number, found {token.text!r}.", remedy=EXAMPLE) from None
    if not math.isfinite(number):
        raise UsageError(
            f"--where: {name} is compared with numbers, found {token.text!r}.",
            remedy=f'"{name} = none" and "{name} != none" test whether the value is known',
        )
    return number if share == token.text else number / 100
