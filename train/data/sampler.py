"""Which frames of clips are shown, as positions in the clip, for a whole batch at once: what every way of choosing them offers.

All of it is arithmetic on `counts`, on the device where they lie: nothing is read back, there is no loop over clips. A position from the
clip's count on is a place that the clip leaves over: its last frame stands there, and the mask says so.

Legend: B clips, n snippets (or parts of a clip), J frames of each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from ...errors import UsageError


class Sampler(ABC):
    """The views of a clip: n × J frames of it."""

    snippets: int  # n
    frames: int  # J
    views = 1  # of the test, whose probabilities are averaged

    @abstractmethod
    def train(self, counts: Tensor, generator: torch.Generator) -> Tensor:
        """Draw a view of each clip; as many numbers for one clip as for another.  # (B,) ≥ 1 → (B, n, J)"""

    @abstractmethod
    def test(self, counts: Tensor, *, view: int = 0, start: int | None = None) -> Tensor:
        """Return a view that is scored; a window begins at `start` of the unified frames.  # (B,) → (B, n, J)"""

    @abstractmethod
    def describe(self, counts: Tensor) -> tuple[str, str | None]:
        """Return which frames of these clips are shown, and warn where that is little.  # (B,)"""

    @abstractmethod
    def rule(self) -> dict[str, Any]:
        """Say exactly which frames of a clip the test shows, for those who sample without est: `text`, and the numbers in it."""

    def expect_start(self, name: str, start: int) -> None:
        """Refuse a start that a window cannot have."""
        raise self._no_window(name)

    def middle(self, *, start: int | None = None) -> tuple[int, int]:
        """Return the range of unified frames that the middle snippet spans."""
        raise self._no_window("--zero-middle")

    def slots(self, first: int, stop: int, *, start: int | None = None) -> Tensor:
        """Return which slots of the test view show one of the unified frames first … stop − 1.  # → (n, J)"""
        raise self._no_window("--zero-middle")

    def example(self, *, start: int | None = None) -> str:
        """Return a range of unified frames of which the test view shows one, as the command line takes it."""
        raise self._no_window("--zero-middle")

    def _no_window(self, name: str) -> UsageError:
        return UsageError(
            f"{name} is for models that are shown a window of a clip; this one is shown frames of all of it.",
            remedy=f"leave {name} out",
        )
