"""The packages with which onnxruntime computes encoders, and what keeps them from being used."""

from __future__ import annotations

import importlib
import importlib.util

from ...errors import EstError, brief

PACKAGES = ("onnxruntime", "onnx")
# What the import of a package raises whose compiled parts do not fit numpy, protobuf or the system.
BROKEN = (ImportError, AttributeError, TypeError, RuntimeError, OSError)


def what_is_wrong() -> tuple[str, str] | None:
    """Return what keeps the packages from being used, and what fixes it; None where they can be used."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if absent:
        return f"{' and '.join(absent)} cannot be found", f"pip install {' '.join(PACKAGES)}"
    for name in PACKAGES:
        try:
            importlib.import_module(name)
        except BROKEN as error:
            return f"{name} cannot be imported ({brief(error)})", f"pip install --force-reinstall {' '.join(PACKAGES)}"
    return None


def expect_packages() -> None:
    """Refuse to compute by onnxruntime where it cannot be used."""
    if wrong := what_is_wrong():
        reason, remedy = wrong
        raise EstError(
            f"onnxruntime computes encoders with the packages {' and '.join(PACKAGES)}; {reason}.", remedy=remedy
        )
