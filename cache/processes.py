"""New processes that leave the caller's script alone: it may have no main guard, or be no file."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType


@contextmanager
def nameless_main() -> Generator[None]:
    """Keep processes that are spawned from importing the caller's main module: what they run is in est."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main
