"""What a row of measurements gets and gives: a context, and a value with the words that go with it."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sizes import Sizes


class LeftOut(Exception):
    """A row that cannot be measured on this device, and why."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A row: the value that its goal is about, and what is said of it."""

    value: float
    text: str  # the value with its unit, and what it was made of
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Context:
    """Where rows are measured; what one of them found is kept for the others, also those of a later process."""

    device: torch.device
    sizes: Sizes
    work: Path

    def keep(self, **values: Any) -> None:
        """Keep numbers for other rows."""
        self._path.write_text(json.dumps(self._found() | values))

    def kept(self, name: str, what: str) -> Any:
        """Return what another row kept."""
        found = self._found()
        if name not in found:
            raise LeftOut(f"needs the row that measures {what}")
        return found[name]

    def synchronise(self) -> None:
        """Wait for a GPU."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def seconds(self, function: Callable[[], object], times: int = 1) -> float:
        """Time a call, on average over some."""
        self.synchronise()
        start = time.perf_counter()
        for _ in range(times):
            function()
        self.synchronise()
        return (time.perf_counter() - start) / times

    def median(self, function: Callable[[], object], times: int = 1) -> float:
        """Return the median over rounds, after a call that is not counted."""
        function()
        return statistics.median(self.seconds(function, times) for _ in range(self.sizes.rounds))

    def rate(self, function: Callable[[], object]) -> float:
        """Return the calls a second, over as many seconds as the sizes say, after a call that is not counted."""
        function()
        self.synchronise()
        start, calls = time.perf_counter(), 0
        while calls == 0 or time.perf_counter() - start < self.sizes.seconds:
            function()
            self.synchronise()
            calls += 1
        return calls / (time.perf_counter() - start)

    @property
    def _path(self) -> Path:
        return self.work / "found.json"

    def _found(self) -> dict[str, Any]:
        return json.loads(self._path.read_text()) if self._path.exists() else {}


Measure = Callable[[Context], Measured]
