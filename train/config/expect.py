"""What every section of a configuration refuses: another kind of value, a word that is no choice, a number outside of its range."""

from __future__ import annotations

import difflib
from dataclasses import fields
from typing import Any

from ...errors import UsageError

KINDS = {"int": (int, "a whole number"), "float": (int | float, "a number"), "bool": (bool, "true or false")}


def expect_kinds(section: str, config: Any) -> None:
    """Refuse a value of another type than its setting's: 2.5 epochs, or the word "no" for false."""
    for item in fields(config):
        kind, name = KINDS.get(str(item.type), (object, ""))
        found = getattr(config, item.name)
        if not isinstance(found, kind) or (isinstance(found, bool) and kind not in (bool, object)):
            raise UsageError(f"{section}{'.' if section else ''}{item.name} is {name}, found {found!r}.")


def expect_choice(name: str, found: Any, choices: tuple[str, ...]) -> None:
    """Refuse a word that is none of the choices."""
    if found not in choices:
        near = difflib.get_close_matches(str(found).lower(), choices, n=1, cutoff=0.5)
        remedy = f"--set {name}={near[0]}" if near else None
        raise UsageError(f"{name} is {', '.join(choices[:-1])} or {choices[-1]}, found {found!r}.", remedy=remedy)


def expect_range(name: str, found: float, low: float, high: float) -> None:
    """Refuse a number outside of a range."""
    if not low <= found <= high:
        raise UsageError(f"{name} goes from {low:g} to {high:g}, found {found:g}.")
