"""Data frames: pandas, which is imported where one is asked for."""

from __future__ import annotations

from typing import Any

from ..packages import expect_packages


def expect_pandas() -> Any:
    """Return pandas, or say how to get it."""
    expect_packages("Data frames need the package pandas", "pandas", install="'est-fer[tables]'")
    import pandas

    return pandas
