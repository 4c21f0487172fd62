"""Ctrl-C and SIGTERM that wait for the end of a step, so that what is saved is whole. A second Ctrl-C does not wait."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class Stop:
    """Whether somebody wants the run to stop."""

    def __init__(self) -> None:
        self.wanted = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take a signal."""
        if self.wanted:
            raise KeyboardInterrupt
        self.wanted = True


@contextmanager
def listening() -> Generator[Stop]:
    """Listen for signals while the block runs. Outside of the main thread Python delivers none: there the flag stays down."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, stop)
        yield stop
    finally:
        for number, handler in before.items():
            # None: somebody's who is not Python; it cannot be put back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
