"""Which stage of an extraction the others wait for, by the mean lengths of the queues between them over the last seconds.

A queue before a stage that is as long as what the stage takes at once is never empty when the stage asks: the stage is the bottleneck.
Where no queue is that long and devices have nothing to do for a part of the time, it is the decoding.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

SECONDS = 2.0  # that a mean remembers
IDLE = 0.2  # of the time, from which on devices wait for pictures
STAGES = {  # queue → the stage behind it, and what waits
    "detect": ("the detector", "frames"),
    "encode": ("the encoder", "crops"),
    "write": ("writing", "clips"),
}


class Bottleneck:
    """Follows the queues."""

    def __init__(self, full: Mapping[str, int]) -> None:
        """Take how many of each queue its stage takes at once."""
        self._full = dict(full)
        self._mean = dict.fromkeys(full, 0.0)
        self._busy = 1.0  # share of the devices at work
        self._last: float | None = None

    def look(self, lengths: Mapping[str, int], *, busy: float) -> None:
        """Take in how long the queues are, and which share of the devices is at work; called often, from the first picture on."""
        now = time.monotonic()
        share = 0.0 if self._last is None else min((now - self._last) / SECONDS, 1.0)
        self._last = now
        self._busy += share * (busy - self._busy)
        for name, length in lengths.items():
            self._mean[name] += share * (length - self._mean[name])

    def describe(self, *, decoding: bool) -> str:
        """Say in words which stage is the bottleneck, as far as one is; `decoding` says whether anything is still decoded."""
        if self._last is None:
            return ""
        longest = max(self._mean, key=lambda name: self._mean[name] / self._full[name])
        if self._mean[longest] >= self._full[longest]:
            stage, what = STAGES[longest]
            return f"{stage} is the bottleneck, {self._mean[longest]:.0f} {what} queued"
        return "decoding is the bottleneck" if decoding and self._busy <= 1 - IDLE else ""
