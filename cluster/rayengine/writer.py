"""The actor that writes the cache: one extraction, whose clips come from other actors; it takes their place in order and commits them.

It lives on a node that sees the cache. Whoever started it asks for its news, and tells it to stop; when that process dies, Ray ends it, and
what was committed is kept.
"""

from __future__ import annotations

import os
import queue
from pathlib import Path
from typing import Any

from ...cache.interrupt import Stop
from ...cache.watch import Watch
from ...errors import UsageError
from ...extract.config import ExtractConfig
from ...extract.extraction import extract_videos
from ...extract.report import Report
from .machine import RayMachine
from .package import import_ray
from .sizes import Sizes


class News(Watch):
    """Keeps what is told until it is asked for."""

    def __init__(self) -> None:
        self.kept: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self.say = lambda text: self.kept.put(("say", text))
        self.warn = lambda text: self.kept.put(("warn", text))
        self.progress = lambda progress: self.kept.put(("progress", progress))


class Writer:
    """Extracts on the actors of a cluster."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stop = Stop()
        self._news = News()
        if folder.is_dir():
            os.chdir(folder)  # where paths that are not absolute begin

    def run(self, inputs: Any, out: Path, config: ExtractConfig, sizes: Sizes, options: dict[str, Any]) -> Report:
        """Extract, and return what was done."""
        if not out.parent.is_dir():
            raise UsageError(
                f"The folder {out.parent} is not there on node {os.uname().nodename}, which writes the cache.",
                remedy="--out in a folder that this node sees",
            )
        machine = RayMachine(import_ray(), sizes, self._folder)
        return extract_videos(inputs, out, config, **options, watch=self._news, machine=machine, stop=self._stop)

    def news(self) -> list[tuple[str, Any]]:
        """Return what was told since the last call: the method of a `Watch`, and what it takes."""
        found = []
        while not self._news.kept.empty():
            found.append(self._news.kept.get())
        return found

    def stop(self, number: int) -> None:
        """Commit what is whole, and end, as a signal would have it."""
        self._stop(number, None)
