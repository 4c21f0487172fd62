"""Files of a submission that somebody has edited, or that another version of est wrote: an error with its remedy, whatever they hold."""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

from ..errors import EstError, UsageError, damage_named, hints_of

T = TypeVar("T")


@contextmanager
def reading(path: Path, remedy: str) -> Generator[None]:
    """Say that a file is damaged, or another version's, where what the block makes of it cannot be made."""
    with damage_named(path, remedy):
        try:
            yield
        except (UsageError, OverflowError) as error:  # a setting in it that no command would have accepted
            raise EstError(f"{path} is damaged, or made by another version of est: {error}", remedy=remedy) from error


def expect_types(value: T) -> T:
    """Return a dataclass whose fields, and theirs, are of the declared types; a TypeError names the first that is not."""
    kind: Any = type(value)
    hints = hints_of(kind)
    for item in fields(kind):
        if not _is_of(getattr(value, item.name), hints[item.name]):
            raise TypeError(f"{item.name} is {getattr(value, item.name)!r}")
    return value


def _is_of(value: Any, hint: Any) -> bool:
    """Say whether a value is of a type; a whole number is a number, true and false are none."""
    kind, args = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(_is_of(value, one) for one in args)
    if kind is Literal:
        return isinstance(value, str) and value in args
    if kind is tuple:
        return isinstance(value, tuple) and all(_is_of(one, args[0]) for one in value)
    if kind in (Mapping, dict):
        return isinstance(value, Mapping) and all(
            _is_of(name, args[0]) and _is_of(one, args[1]) for name, one in value.items()
        )
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if kind is Any:
        return True
    if is_dataclass(kind):
        return isinstance(value, kind) and expect_types(value) is value
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
