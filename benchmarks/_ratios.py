"""Ratios that a benchmark prints, told to `make bench-check` too, which compares them with those of docs/benchmarks.toml."""

from __future__ import annotations

import json
import os
from pathlib import Path

TOLD = "EST_BENCHMARK_RATIOS"  # the file that collects them; nothing is told where it is not set


def tell(name: str, ratio: float) -> None:
    """Tell a ratio, by the name that it has in docs/benchmarks.toml."""
    if path := os.environ.get(TOLD):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps({"name": name, "ratio": ratio}) + "\n")
