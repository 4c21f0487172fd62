"""The package ray: imported where it is needed, and refused where it is missing or of another version."""

from __future__ import annotations

import importlib
from typing import Any

from ...errors import EstError
from ...packages import expect_packages

VERSION = "2.60"
INSTALL = "'est-fer[ray]'"


def import_ray() -> Any:
    """Return the module, or say what to install."""
    expect_packages("Extraction on Ray needs the package ray", "ray", install=INSTALL)
    ray = importlib.import_module("ray")
    if ray.__version__.split(".")[:2] != VERSION.split("."):
        raise EstError(
            f"est runs on Ray {VERSION}, and ray {ray.__version__} is installed.",
            remedy=f"pip install {INSTALL}, here and on every node: a cluster has one version of Ray",
        )
    return ray
