"""How far a part is: a file that its process writes when it begins, now and then while it works, and when it ends.

A process that is killed cannot write. Its end shows by the lock that it held, on this machine, or by the age of its last heartbeat.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from ..cache.stores.lock import writer_of
from ..cache.watch import Progress, Watch
from ..errors import EstError, quoted
from .place import Place, read_json, write_json
from .reading import expect_types, reading

BEAT = "EST_HEARTBEAT"  # of the environment: seconds between heartbeats
SECONDS = 10.0  # where it is not set
SILENT = 180.0  # seconds without one, after which a process on another machine counts as gone
COUNTS = ("clips", "frames", "failures", "studies", "trials")  # in a result
TAIL = 12  # lines of a log that are shown


@dataclass(frozen=True, kw_only=True)
class State:
    """What a part has written of itself."""

    state: Literal["running", "done", "failed", "stopped"]
    attempt: int = 1
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    job: str = ""  # of Slurm
    started: float = field(default_factory=time.time)
    heartbeat: float = field(default_factory=time.time)  # the last one, by the clock of its machine
    ended: float | None = None
    left: int | None = None  # inputs, as far as is known
    failed: int = 0
    signal: int = 0  # that stopped it
    error: str = ""
    remedy: str = ""
    result: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value in self.result.items():
            if name in COUNTS and type(value) is not int:
                raise TypeError(f"{name} of the result is {value!r}")

    @property
    def is_done(self) -> bool:
        """Say whether it came to its end."""
        return self.state == "done"

    def is_alive(self, place: Place, number: int) -> bool:
        """Say whether the process that wrote it still works."""
        if self.state != "running":
            return False
        if self.host == socket.gethostname():
            return writer_of(place.held(number)) is not None
        return seconds_since_heartbeat(place, number) < SILENT


def seconds_since_heartbeat(place: Place, number: int) -> float:
    """Return how long ago a part wrote its state, by the clock of the file system alone: those of two machines may differ."""
    path = place.state(number)
    try:
        with tempfile.TemporaryFile(dir=path.parent) as file:
            now = os.fstat(file.fileno()).st_mtime
    except OSError:  # a folder that may only be read, or a full disk
        now = time.time()
    return max(0.0, now - path.stat().st_mtime)


def read_state(path: Path) -> State | None:
    """Return what a part wrote last; None: it has not begun."""
    remedy = f"rm {quoted(path)}; est submit retry does the part again, from its last commit"
    try:
        data = read_json(path, remedy=remedy)
    except FileNotFoundError:
        return None
    with reading(path, remedy):
        return expect_types(State(**data))


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the work on a part ended."""

    left: int = 0
    signal: int = 0  # that stopped it
    failed: int = 0
    result: dict[str, Any] = field(default_factory=dict)


class Heartbeat(Watch):
    """Passes on what is told, and writes a heartbeat beside it."""

    def __init__(self, path: Path, state: State, watch: Watch) -> None:
        self._path, self._watch = path, watch
        self._beat = float(os.environ.get(BEAT, SECONDS))
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True)
        self.state = state

    def say(self, text: str) -> None:
        self._watch.say(text)

    def warn(self, text: str) -> None:
        self._watch.warn(text)

    def progress(self, progress: Progress) -> None:
        left = progress.total - progress.done if progress.total else None
        self.state = replace(self.state, left=left, failed=progress.failed)
        self._watch.progress(progress)

    def begin(self) -> None:
        """Write the first one, and continue."""
        write_json(self._path, asdict(self.state))
        self._thread.start()

    def end(self, **changes: Any) -> State:
        """Write how it ended."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        now = time.time()
        self.state = replace(self.state, heartbeat=now, ended=now, **changes)
        write_json(self._path, asdict(self.state))
        return self.state

    def _write(self) -> None:
        while not self._ended.wait(self._beat):
            with suppress(OSError):  # a full disk is told of by the work itself
                write_json(self._path, asdict(replace(self.state, heartbeat=time.time())))


@contextmanager
def alive(place: Place, number: int, watch: Watch) -> Generator[Heartbeat]:
    """Write that a part runs while the block does, and how it failed where it raises."""
    path = place.state(number)
    before = read_state(path)
    job = "_".join(filter(None, (os.environ.get(name, "") for name in ("SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID"))))
    state = State(
        state="running",
        attempt=before.attempt + 1 if before else 1,
        job=job or os.environ.get("SLURM_JOB_ID", ""),
        left=before.left if before else None,
    )
    heartbeat = Heartbeat(path, state, watch)
    heartbeat.begin()
    try:
        yield heartbeat
    except EstError as error:
        heartbeat.end(state="failed", error=error.message, remedy=error.remedy or "")
        raise
    except Exception as error:
        heartbeat.end(state="failed", error=f"{type(error).__name__}: {error}")
        raise
    except BaseException:  # Ctrl-C, or the exit that submitit makes after it has queued the job again
        heartbeat.end(state="stopped")
        raise


def tail(path: Path, lines: int = TAIL) -> list[str]:
    """Return the last lines of a log."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 8192))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []
