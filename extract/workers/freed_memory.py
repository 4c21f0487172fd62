"""Memory that an extraction has freed goes back to the system when it ends.

The allocator of glibc has a heap for each of the dozen threads of an extraction, and keeps what is freed: up to 64 MiB at the end of
each heap, and what lies between blocks in use. Between extractions a process kept 140 to 410 MiB so, of which nothing was in use
(docs/reliability.md, "A day of extraction"). Giving it back takes about 10 ms.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


def returning_freed_memory(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
    """Let a function give freed memory back when it ends: by then its variables are freed, too, unless a traceback keeps them."""

    @wraps(function)
    def returning(*positional: Parameters.args, **named: Parameters.kwargs) -> Result:
        try:
            return function(*positional, **named)
        finally:
            return_freed_memory()

    return returning


def return_freed_memory() -> None:
    """Return the free parts of all heaps to the system. Allocators other than glibc's (musl, macOS) have no such function."""
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(ctypes.c_size_t(0))
