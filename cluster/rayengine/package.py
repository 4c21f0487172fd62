"""The package ray: imported where it is needed, and refused where it is missing or of another version."""

from __future__ import annotations

import importlib
from typing import Any

from ...errors import EstError, brief

VERSION = "2.60"
INSTALL = "pip install 'est-fer[ray]'"


def import_ray() -> Any:
    """Return the module, or say what to install."""
    try:
        ray = importlib.import_module("ray")
    except ModuleNotFoundError as error:
        if error.name != "ray":
            raise EstError(f"ray cannot be imported: {brief(error)}.", remedy=f"{INSTALL} --force-reinstall") from error
        raise EstError("Extraction on Ray needs the package ray, which is not installed.", remedy=INSTALL) from error
    except ImportError as error:
        raise EstError(f"ray cannot be imported: {brief(error)}.", remedy=f"{INSTALL} --force-reinstall") from error
    found = getattr(ray, "__version__", "of an unknown version")
    if found.split(".")[:2] != VERSION.split("."):
        raise EstError(
            f"est runs on Ray {VERSION}, and ray {found} is installed.",
            remedy=f"{INSTALL}, here and on every node: a cluster has one version of Ray",
        )
    return ray
