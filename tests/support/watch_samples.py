"""Watches for tests."""

from __future__ import annotations

from est.cache import Watch


class Calling(Watch):
    """Calls functions in the place of its methods: `Calling(say=said.append)`."""

    def __init__(self, **functions):
        vars(self).update(functions)


class Counting(Watch):
    """Keeps the two numbers of each state."""

    def __init__(self):
        self.seen = []

    def progress(self, progress):
        self.seen.append((progress.done, progress.total))
