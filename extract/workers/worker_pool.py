"""The worker processes: started, watched, replaced. One that dies or hangs costs the input it had, not the run."""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Generator
from dataclasses import dataclass
from multiprocessing import get_context, resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from ...cache.processes import nameless_main
from ..config import ExtractConfig
from .clip_worker import STOPPING, work
from .messages import Failed, FromWorker, Recrop, ToWorker, Work

PAUSE = 1.0  # seconds by which a wait may end late; after more this process was stopped (Ctrl-Z, a paused machine)


@dataclass(eq=False)
class Worker:
    """One worker process and the input that it has."""

    process: BaseProcess
    connection: Connection
    busy: int | None = None  # index of its input
    owed: int = 0  # answers that it waits for
    heard: float = 0.0


class WorkerPool:
    """A number of worker processes."""

    def __init__(self, size: int, config: ExtractConfig, crop_batch: int) -> None:
        self._config = config
        self._crop_batch = crop_batch
        self._context = get_context("spawn")  # torch's threads and the cache's lock do not survive a fork
        with signals_held_back():
            resource_tracker.ensure_running()  # first, because it lets signals in again
        self.workers = [self._start() for _ in range(size)]

    def idle(self) -> list[Worker]:
        """Return the workers without an input."""
        return [worker for worker in self.workers if worker.busy is None]

    def give(self, worker: Worker, job: Work | Recrop) -> None:
        """Hand a clip to a worker."""
        worker.busy, worker.heard = job.index, time.monotonic()
        self.tell(worker, job)

    def tell(self, worker: Worker, message: ToWorker) -> None:
        """Send a message; a worker that is gone is noticed when it is listened to."""
        with contextlib.suppress(OSError):
            worker.connection.send(message)

    def listen(self, timeout: float) -> list[tuple[Worker, FromWorker]]:
        """Return the messages that have come; a worker that died or hangs gives a `Failed`."""
        by_connection = {worker.connection: worker for worker in self.workers}
        found: list[tuple[Worker, FromWorker]] = []
        begun = time.monotonic()
        ready = wait(list(by_connection), timeout)
        if (
            paused := time.monotonic() - begun - timeout
        ) > PAUSE:  # all of us were stopped: nobody hangs because of that
            for worker in self.workers:
                worker.heard += paused
        for connection in ready:
            worker = by_connection[connection]
            try:
                message: FromWorker = worker.connection.recv()
            except (EOFError, OSError):
                found += self._lost(worker)
                continue
            worker.heard = time.monotonic()
            found.append((worker, message))
        for worker in list(self.workers):
            if worker.busy is not None and not worker.owed and time.monotonic() - worker.heard > self._config.timeout:
                found += self._hung(worker)
        return found

    def close(self) -> None:
        """End all workers at once; what they have in hand is given up."""
        for worker in self.workers:
            worker.process.kill()
        for worker in self.workers:
            worker.process.join()
            worker.connection.close()
        self.workers = []

    def _start(self) -> Worker:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, self._config, self._crop_batch), daemon=True)
        with signals_held_back(), nameless_main():
            process.start()
        theirs.close()
        return Worker(process, ours)

    def _replace(self, worker: Worker) -> None:
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self.workers[self.workers.index(worker)] = self._start()

    def _lost(self, worker: Worker) -> list[tuple[Worker, FromWorker]]:
        worker.process.join()
        code = worker.process.exitcode or 0
        self._replace(worker)
        if worker.busy is None:
            return []
        cause = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return [(worker, Failed(index=worker.busy, stage="decode", error=f"the decoder crashed ({cause})"))]

    def _hung(self, worker: Worker) -> list[tuple[Worker, FromWorker]]:
        self._replace(worker)
        assert worker.busy is not None
        error = f"the decoder made no progress for {self._config.timeout:g} s"
        return [(worker, Failed(index=worker.busy, stage="decode", error=error))]


@contextlib.contextmanager
def signals_held_back() -> Generator[None]:
    """Start processes that signals do not reach: a terminal and a cluster send them to all, and one still importing would die, loudly."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # inherited; a worker lifts it when it is ready
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
