"""What long work reports: messages, warnings and progress.

The methods do nothing here. The command line shows them live; a notebook may override what it likes. It lies in the lowest package, so
that every other can tell; a training tells more: `est.train.TrainingWatch`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A moment of long work."""

    what: str  # Extracting, Verifying, …
    unit: str  # of the two numbers that follow: videos or clips
    done: int
    total: int  # 0 if not known
    ahead: int = 0  # that are finished besides, and wait for an older one
    stage: str = ""  # of the work, where it has several
    frames: int = 0
    failed: int = 0
    seconds: float = 0.0  # that the frames took; 0 until the first is there
    queued: Mapping[str, int] = field(default_factory=dict)  # what waits for each stage
    bottleneck: str = ""  # which stage the others wait for, in words

    def counts(self) -> str:
        """Return how much is done, and of how much where that is known."""
        return f"{self.done}/{self.total} {self.unit}" if self.total else f"{self.done} {self.unit}"

    def note(self) -> str:
        """Say in a few words what is known besides the two numbers."""
        parts = [
            self.stage,
            f"{self.frames / self.seconds:.0f} frames/s" if self.seconds and self.frames else "",
            self.bottleneck,
            f"{self.failed} failed" if self.failed else "",
        ]
        return " · ".join(filter(None, parts))


class Watch:
    """Receives what long work reports; its methods do nothing until they are overridden."""

    def say(self, text: str) -> None:
        """A message."""

    def warn(self, text: str) -> None:
        """A warning, on which the user should act."""

    def progress(self, progress: Progress) -> None:
        """Some of the work is done; called often."""
