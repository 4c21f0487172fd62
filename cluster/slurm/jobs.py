"""What submitit calls on a machine of the cluster: one part, and what becomes of it when Slurm wants the machine back.

Slurm warns with the signal of submitit (USR2) before the time of a job ends, and when it preempts one. The extraction takes it as Ctrl-C
and commits what it has. Then the signal is handed on to submitit, which queues the job again; the next attempt resumes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

from ...cache.watch import Progress, Watch
from ..parts import run_part
from ..place import Place
from ..state import State

PATIENCE = 100  # seconds that a job waits, after SIGTERM, for Slurm to end it or to queue it again
QUEUED_AGAIN = (signal.SIGUSR1, signal.SIGUSR2)
PACE = 30.0  # seconds between lines of progress in a log


class PartJob:
    """One part as submitit's callable: it is pickled by name, and queued again by `checkpoint`."""

    def __init__(self, out: Path, number: int, *, keep_shards: bool = False) -> None:
        self.out, self.number, self.keep_shards = out, number, keep_shards

    def __call__(self) -> str:
        """Do the part."""
        place = Place(self.out)
        _log_to(place.log(self.number))
        state = run_part(place, self.number, keep_shards=self.keep_shards, watch=LogWatch())
        if not state.is_done:
            hand_on(state)
        return state.state

    def checkpoint(self) -> Any:
        """Return what is queued again: the same part."""
        from submitit.core.utils import DelayedSubmission

        return DelayedSubmission(self)


def hand_on(state: State) -> None:
    """Give the signal that stopped a part to submitit; after SIGTERM wait for what Slurm does next."""
    from submitit.core.job_environment import JobEnvironment

    again = getattr(signal, f"SIG{JobEnvironment.USR_SIG}")
    if state.signal in QUEUED_AGAIN:
        os.kill(os.getpid(), again)  # submitit's handler raises SystemExit
    until = time.monotonic() + (PATIENCE if "SLURM_JOB_ID" in os.environ else 0)
    while time.monotonic() < until:
        time.sleep(1)
    raise InterruptedError(f"stopped by signal {state.signal}; everything that was done is committed")


class LogWatch(Watch):
    """Writes what is told to the log, and progress now and then."""

    def __init__(self) -> None:
        self._told = -PACE

    def say(self, text: str) -> None:
        _write(text)

    def warn(self, text: str) -> None:
        _write(f"Warning: {text}")

    def progress(self, progress: Progress) -> None:
        if progress.done == progress.total or time.monotonic() - self._told >= PACE:
            self._told = time.monotonic()
            _write(f"{progress.what}: {progress.counts()} {progress.note()}".rstrip())


def _write(text: str) -> None:
    sys.stderr.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")
    sys.stderr.flush()


def _log_to(path: Path) -> None:
    """Let everything that this process and its children say from now on go to a file: a traceback too, which Python writes as it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)
