"""Expression Snippet Transformer on cached features.

`est.extract_videos`, `est.open_cache`, `est.fit` and `est.evaluate_run` are the whole of their commands; they are imported on first use.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .cache import open_cache
    from .extract.extraction import extract_videos
    from .train.evaluation import evaluate as evaluate_run
    from .train.fitting import fit

__version__ = "0.1.0.dev0"


def lazy_names(package: str, file: str) -> tuple[Callable[[str], Any], list[str]]:
    """Return `__getattr__` and `__all__` of a package that offers what its file imports below `if TYPE_CHECKING`, each on first use."""
    import ast
    from importlib import import_module

    block = next(node for node in ast.parse(Path(file).read_text(encoding="utf-8")).body if isinstance(node, ast.If))
    homes = {
        alias.asname or alias.name: ("." * node.level + (node.module or ""), alias.name)
        for node in block.body
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }

    def get(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, original = homes[name]
        return getattr(import_module(module, package), original)

    return get, sorted(homes)


def __getattr__(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = lazy_names(__name__, __file__)[0](name)
    return value
