"""Data frames: pandas, which is imported where one is asked for."""

from __future__ import annotations

from typing import Any

from ..errors import EstError


def expect_pandas() -> Any:
    """Return pandas, or say how to get it."""
    try:
        import pandas
    except ImportError as error:
        raise EstError("Data frames need the package pandas.", remedy="pip install 'est-fer[tables]'") from error
    return pandas
