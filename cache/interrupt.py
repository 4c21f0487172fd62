"""Delaying Ctrl-C and other signals: until a change of several arrays is complete, or until long work can be stopped in order."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from types import FrameType


@contextmanager
def uninterrupted() -> Generator[None]:
    """Let a Ctrl-C wait for the end of the block. Python raises it in the main thread alone: elsewhere there is nothing to do."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    caught: list[tuple[int, FrameType | None]] = []
    signal.signal(signal.SIGINT, lambda number, frame: caught.append((number, frame)))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if caught:
            handler(*caught[-1])


class Stop:
    """Whether the work is to stop: a flag that signals raise."""

    def __init__(self, *, patient: bool = True) -> None:
        self.wanted = False
        self.signal = 0  # the first that came
        self._patient = patient

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Take a signal; without patience a second one interrupts at once."""
        if self.wanted and not self._patient:
            raise KeyboardInterrupt
        self.wanted, self.signal = True, self.signal or number


@contextmanager
def listening(numbers: Iterable[int] = (signal.SIGINT, signal.SIGTERM), *, patient: bool = True) -> Generator[Stop]:
    """Let signals raise a flag while the block runs. Outside of the main thread Python delivers none: there the flag stays down."""
    stop = Stop(patient=patient)
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {}
    try:
        for number in numbers:
            before[number] = signal.signal(number, stop)
        yield stop
    finally:
        for number, handler in before.items():
            # None: a handler that Python did not install; it cannot be put back
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
