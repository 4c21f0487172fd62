"""How clips become snippets: the section [sampling] of a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ...errors import UsageError, expect_values
from ..models.contract import AllFrames, AllWindows, Evenly, EvenlyThenAll, Shown, Snippets


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """From native frames to snippets."""

    unify: Literal["resample", "clip", "native"] = "resample"
    unified: int = 105  # frames that every clip is brought to
    window: int = 75  # of them that a view shows
    start_range: int = 30  # a training window starts at one of the first so many
    test_start: int = 15
    snippet_window: int = 15  # frames that a snippet spans, at least
    no_face: Literal["nearest", "keep"] = "nearest"  # frames without a face: the nearest with one, or zeros

    def __post_init__(self) -> None:
        expect_values(self, "sampling.", unified=(1, 100_000))
        if not 1 <= self.window <= self.unified:
            raise UsageError(
                f"A window has 1 to {self.unified} frames (sampling.unified), found sampling.window = {self.window}.",
                remedy="a shorter window, or more unified frames",
            )
        if not 1 <= self.snippet_window <= self.window:
            raise UsageError(
                f"A snippet spans 1 to {self.window} frames (sampling.window), found sampling.snippet_window = {self.snippet_window}.",
                remedy="shorter snippets, or a longer window",
            )
        if not 1 <= self.start_range <= self.spare + 1:
            raise UsageError(
                f"A window of {self.window} frames starts at one of the first 1 to {self.spare + 1} of {self.unified}, "
                f"found sampling.start_range = {self.start_range}.",
                remedy=f"--set sampling.start_range={self.spare + 1}, or a shorter window",
            )
        self.expect_start("sampling.test_start", self.test_start)

    @property
    def spare(self) -> int:
        """Count the unified frames that a window leaves over."""
        return self.unified - self.window

    def expect_start(self, name: str, start: int) -> None:
        """Refuse a start from which the window runs out of the unified clip."""
        if not 0 <= start <= self.spare:
            raise UsageError(
                f"{name} goes from 0 to {self.spare}: the window has {self.window} of {self.unified} frames; found {start}.",
                remedy=f"a start of {self.spare // 2} centres the window",
            )

    def sentence(self, shown: Shown) -> str:
        """Return which frames of a clip a model is shown; only snippets are cut from a unified clip."""
        match shown:
            case Snippets() if self.unify == "native":
                return f"snippets lie in {self.window} consecutive frames of the clip (`native`); the EST paper brings clips to 105 frames"
            case Snippets():
                unified = f"frames are brought to {self.unified} by `{self.unify}`"
                return f"{unified}, an assumption: the EST paper does not say how"
            case EvenlyThenAll():
                trained = f"{shown.parts} × {shown.frames} frames of equal parts of a clip"
                return f"the model is shown {trained} in training, and in the test all frames, up to {shown.most}"
            case Evenly():
                return f"the model is shown {shown.parts} × {shown.frames} frames of equal parts of a clip"
            case AllFrames():
                return f"the model is shown all frames of a clip, up to {shown.most}; of a longer clip so many, evenly"
            case AllWindows():
                kinds = " + ".join(map(str, shown.each))
                return f"the model is shown all windows of a clip, up to {kinds} (of each kind, in the cache's order)"
