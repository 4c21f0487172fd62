"""A command with the options of another one: declared once, parsed, refused and shown by --help alike."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Asks = Callable[..., int]


def with_options_of(
    asks: Asks, *, without: Sequence[str] = (), changed: Mapping[str, Any] | None = None
) -> Callable[[Asks], Asks]:
    """Give a command the options of another function, as keyword arguments, behind its own.

    Those are the function's keyword-only parameters but `without`; `changed` are other declarations of some.
    """
    changed = changed or {}
    theirs = [
        one.replace(annotation=changed.get(one.name, one.annotation))
        for one in inspect.signature(asks, eval_str=True).parameters.values()
        if one.kind is inspect.Parameter.KEYWORD_ONLY and one.name not in without
    ]

    def take(function: Asks) -> Asks:
        signature = inspect.signature(function, eval_str=True)
        own = [one for one in signature.parameters.values() if one.kind is not inspect.Parameter.VAR_KEYWORD]

        @functools.wraps(function)
        def run(*arguments: Any, **given: Any) -> int:
            return function(*arguments, **given)

        run.__signature__ = signature.replace(parameters=[*own, *theirs])  # ty: ignore[missing-attribute]
        return run

    return take
