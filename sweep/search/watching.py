"""What a sweep reports besides messages: the state of its studies, after every few trials."""

from __future__ import annotations

from ...train.loop.watch import TrainingWatch
from ..found.record import Sweep


class SweepWatch(TrainingWatch):
    """Receives what a sweep reports."""

    def trials(self, found: Sweep) -> None:
        """Trials have ended, here or in another process."""
