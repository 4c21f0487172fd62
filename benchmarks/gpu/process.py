"""A process that measures, and whoever reads what it says, a line of JSON each: until a row ends, its time is over, or the process dies."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TAIL = 3  # lines of the log that say why a process died


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a row ended, and whether its process can measure the next."""

    fields: dict[str, Any]
    goes_on: bool = True


class MeasuringProcess:
    """A worker in a group of its own, so that what it has started ends with it."""

    def __init__(self, command: list[str], env: dict[str, str], log: Path) -> None:
        self.is_new = True  # nothing has ended yet
        self._log = log
        self._file = log.open("a")
        self._process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=self._file,
            stdin=subprocess.DEVNULL,
            text=True,
            env=env,
            start_new_session=True,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def wait_for(self, name: str, seconds: float) -> Ended:
        """Wait until a row has ended, at most so long; a process that takes longer is stopped."""
        until = start = time.monotonic()
        until += seconds
        while True:
            try:
                line = self._lines.get(timeout=max(until - time.monotonic(), 0))
            except queue.Empty:
                self.end()
                spent = round(time.monotonic() - start, 1)
                return Ended(
                    fields={"failed": f"stopped after {spent:g} s, its budget", "seconds": spent}, goes_on=False
                )
            if line is None:
                status = self._process.wait()
                spent = round(time.monotonic() - start, 1)
                return Ended(
                    fields={"failed": f"the process ended with status {status}: {self._tail()}", "seconds": spent},
                    goes_on=False,
                )
            with contextlib.suppress(ValueError):
                said = json.loads(line)
                if isinstance(said, dict) and said.get("end") == name:
                    self.is_new = False
                    return Ended(fields={key: value for key, value in said.items() if key != "end"})

    def end(self) -> None:
        """End the process and everything that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._reader.join(timeout=5)
        if self._process.stdout is not None and not self._reader.is_alive():
            self._process.stdout.close()
        self._file.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def _tail(self) -> str:
        lines = [line.strip() for line in self._log.read_text(errors="replace").splitlines() if line.strip()]
        return " / ".join(lines[-TAIL:])[-400:]
