"""The other processes of a sweep on this machine: each loads the cache and searches the same studies, one thread each on a CPU.

They end when the process that started them ends, however it ends. One that is lost is told of, and its trials are tried again.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ...cache import open_cache
from ...cache.interrupt import Stop, listening
from ...cache.processes import nameless_main
from ...errors import EstError
from ...train.config.configfile import from_flat, to_flat
from ...train.loop.trainer import reproducible
from ..space.space import Space
from .searching import SECONDS_BETWEEN_LOOKS
from .settings import SweepConfig
from .study import searching

if TYPE_CHECKING:
    from .begun import Begun

LOGS = "workers"


@dataclass(frozen=True, kw_only=True)
class Job:
    """The settings of another process."""

    cache: Path
    out: Path
    base: dict[str, Any]
    space: dict[str, Any]
    config: SweepConfig
    storage: str
    log: Path
    parent: int


@dataclass(eq=False)
class Workers:
    """Processes that search beside this one."""

    begun: Begun
    number: int
    processes: list[BaseProcess] = field(default_factory=list)

    def __enter__(self) -> Self:
        """Start them."""
        begun = self.begun
        context = multiprocessing.get_context("spawn")
        folder = begun.out / LOGS
        if self.number:
            folder.mkdir(parents=True, exist_ok=True)
        for number in range(self.number):
            job = Job(
                cache=begun.ground.cache.path,
                out=begun.out,
                base=to_flat(begun.ground.base),
                space=begun.space.to_json(),
                config=begun.config,
                storage=begun.storage,
                log=folder / f"{number + 1}.log",
                parent=os.getpid(),
            )
            process = context.Process(target=work, args=(job,), daemon=True, name=f"est-sweep-{number + 1}")
            with _deaf_to_ctrl_c(), nameless_main():
                process.start()
            self.processes.append(process)
        return self

    def __exit__(self, *_: object) -> None:
        """End those that are left."""
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()

    def expect_alive(self) -> list[str]:
        """Check the processes; return warnings about those that were lost since the last check."""
        said = []
        for process in list(self.processes):
            if process.exitcode is None:
                continue
            self.processes.remove(process)
            if process.exitcode:
                log = self.begun.out / LOGS / f"{process.name.rpartition('-')[2]}.log"
                said.append(
                    f"A process of the sweep ended with status {process.exitcode}; the others continue. Its messages: {log}"
                )
        return said


def work(job: Job) -> None:
    """Search in a process of its own."""
    from .sweeping import begin

    with open(job.log, "a", encoding="utf-8", buffering=1) as log:
        os.dup2(log.fileno(), 2)  # the traceback of a bug, too
        try:
            base = from_flat(job.base)
            with listening(patient=True) as stop, searching() as worker:
                _watch_parent(job.parent, stop)
                begun = begin(
                    open_cache(job.cache),
                    job.out,
                    base,
                    Space.from_json(job.space),
                    job.config,
                    worker,
                    storage=job.storage,
                )
                with reproducible(begun.device, base.loop.threads):
                    begun.searcher(stop, begun.deadline()).run()
        except EstError as error:
            print(f"Error: {error.message}", file=log)
            if error.remedy:
                print(f"  try: {error.remedy}", file=log)
            sys.exit(error.status)


@contextmanager
def _deaf_to_ctrl_c() -> Generator[None]:
    """Have processes that are started here ignore Ctrl-C, which the terminal sends to all of them, until they listen."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _watch_parent(parent: int, stop: Stop) -> None:
    """Stop when the process is gone that started this one."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        stop.wanted = True

    threading.Thread(target=look, daemon=True).start()
