"""The packages that single parts of est need: whether they can be used here, and the command that fixes it where they cannot.

A package may be absent, or be there and fail when it is imported: a library of the system is missing, or its compiled parts do not fit
numpy or protobuf. Both are told in the same way, before the work begins that needs it.
"""

from __future__ import annotations

import importlib
import importlib.util

from .errors import EstError, brief, missing_library

# What the import of a package raises whose compiled parts do not fit numpy, protobuf or the system.
BROKEN = (ImportError, AttributeError, TypeError, RuntimeError, OSError)


def what_is_wrong(*names: str, install: str = "") -> tuple[str, str] | None:
    """Return what keeps packages from being used, and what fixes it; None where all can be used.

    `install` is what pip installs, where that is not the packages by their names.
    """
    absent = [name for name in names if importlib.util.find_spec(name) is None]
    if absent:
        verb = "is" if len(absent) == 1 else "are"
        return f"{' and '.join(absent)} {verb} not installed", f"pip install {install or ' '.join(absent)}"
    for name in names:
        try:
            importlib.import_module(name)
        except BROKEN as error:
            explained = missing_library(error) if isinstance(error, ImportError) else None
            if explained is not None and explained.remedy:
                return f"{name} cannot be imported ({explained.message.rstrip('.')})", explained.remedy
            again = f"pip install --force-reinstall {install or ' '.join(names)}"
            return f"{name} cannot be imported ({brief(error)})", again
    return None


def expect_packages(
    need: str, *names: str, install: str = "", instead: str = "", kind: type[EstError] = EstError
) -> None:
    """Refuse what needs packages that cannot be used; `need` says what needs them, `instead` names the option that does without."""
    if wrong := what_is_wrong(*names, install=install):
        reason, remedy = wrong
        raise kind(f"{need}; {reason}.", remedy=f"{remedy}, or {instead}" if instead else remedy)
