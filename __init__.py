"""Expression Snippet Transformer on cached features.

`est.extract_videos`, `est.import_features`, `est.open_cache`, `est.fit`, `est.evaluate_run`, `est.predict` and `est.reproduce` are the
whole of their commands; they are imported on first use.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cache import open_cache
    from .extract.extraction import extract_videos
    from .infer.prediction.predicting import predict
    from .inputs.features.importing import import_features
    from .sweep.reproduce.reproducing import reproduce
    from .train.evaluation import evaluate as evaluate_run
    from .train.fitting import fit

# onnxruntime queues events about the machine as soon as it is imported; who works on videos of people does not expect that.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__version__ = "0.1.0.dev0"


def lazy_names(package: str, file: str) -> Callable[[str], Any]:
    """Return `__getattr__` of a package that offers what its file imports below `if TYPE_CHECKING`, each on first use; and `__all__`."""
    homes: dict[str, tuple[str, str]] = {}  # name → module and the name there; read when the first one is asked for

    def get(name: str) -> Any:
        if name.startswith("__") and name != "__all__":
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        import ast
        from importlib import import_module

        if not homes:
            body = ast.parse(Path(file).read_text(encoding="utf-8")).body
            block = next(node for node in body if isinstance(node, ast.If))
            for node in block.body:
                if isinstance(node, ast.ImportFrom) and node.level:
                    module = "." * node.level + (node.module or "")
                    homes.update({alias.asname or alias.name: (module, alias.name) for alias in node.names})
        if name == "__all__":
            return sorted(homes)
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = homes[name]
        try:
            return getattr(import_module(module, package), original)
        except ImportError as error:
            from .errors import missing_library

            explained = missing_library(error)
            if explained is None:
                raise
        raise explained

    sys.modules[package].__dict__["__dir__"] = lambda: get("__all__")
    return get


__getattr__ = lazy_names(__name__, __file__)
