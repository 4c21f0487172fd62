"""A cache that is named where a command takes something else: the answer is the option that takes it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import UsageError

if TYPE_CHECKING:
    from typer._click import Context

SUFFIXES = (".zarr", ".h5", ".hdf5")  # as cache/stores/snapshot.py has them, which imports numpy
OPTION = "--cache"
EXTRA, MISSING = "unexpected extra argument", f"Missing option '{OPTION}'"  # in messages of the parser


def is_cache_name(text: object) -> bool:
    """Return whether a word is named as caches are."""
    return isinstance(text, str) and text.rstrip("/").endswith(SUFFIXES)


def expect_no_cache(option: str, found: object) -> None:
    """Refuse the name of a cache as the value of an option."""
    for one in found if isinstance(found, list | tuple) else [found]:
        if is_cache_name(one):
            raise no_cache(option, one)


def no_cache(option: str, found: str) -> UsageError:
    """Return the refusal of a cache as the value of an option."""
    return UsageError(
        f"{option} does not take {found!r}, which has the name of a cache.", remedy=f"{OPTION} {shlex.quote(found)}"
    )


def takes_option(context: Context | None) -> bool:
    """Return whether a command takes a cache by its option."""
    return context is not None and any(OPTION in parameter.opts for parameter in context.command.params)


def with_cache_option(message: str, context: Context | None, arguments: Sequence[str]) -> str | None:
    """Return a line that could not be parsed with the option before the cache that stands alone on it; None: there is no such cache."""
    if not takes_option(context) or not (EXTRA in message or MISSING in message):
        return None
    for place, word in enumerate(arguments):
        alone = word in message if EXTRA in message else not arguments[place - 1].startswith("-")
        if is_cache_name(word) and alone:
            return shlex.join(["est", *arguments[:place], OPTION, *arguments[place:]])
    return None
