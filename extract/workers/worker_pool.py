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

from ..config import ExtractConfig
from .clipworker import STOPPING, work
from .messages import Failed, FromWorker, Recrop, ToWorker, Work


@dataclass(eq=False)
class Member:
    """One worker process and the input that it has."""

    process: BaseProcess
    connection: Connection
    busy: int | None = None  # index of its input
    owed: int = 0  # answers that it waits for
    heard: float = 0.0


class Crew:
    """A number of worker processes."""

    def __init__(self, size: int, config: ExtractConfig, crop_batch: int) -> None:
        self._config = config
        self._crop_batch = crop_batch
        self._context = get_context("spawn")  # torch's threads and the cache's lock do not survive a fork
        with signals_held_back():
            resource_tracker.ensure_running()  # first, because it lets signals in again
        self.members = [self._start() for _ in range(size)]

    def idle(self) -> list[Member]:
        """Return the workers without an input."""
        return [member for member in self.members if member.busy is None]

    def give(self, member: Member, job: Work | Recrop) -> None:
        """Hand a clip to a worker."""
        member.busy, member.heard = job.index, time.monotonic()
        self.tell(member, job)

    def tell(self, member: Member, message: ToWorker) -> None:
        """Send a message; a worker that is gone is noticed when it is listened to."""
        with contextlib.suppress(OSError):
            member.connection.send(message)

    def listen(self, timeout: float) -> list[tuple[Member, FromWorker]]:
        """Return the messages that have come; a worker that died or hangs gives a `Failed`."""
        by_connection = {member.connection: member for member in self.members}
        found: list[tuple[Member, FromWorker]] = []
        for connection in wait(list(by_connection), timeout):
            member = by_connection[connection]
            try:
                message: FromWorker = member.connection.recv()
            except (EOFError, OSError):
                found += self._lost(member)
                continue
            member.heard = time.monotonic()
            found.append((member, message))
        for member in list(self.members):
            if member.busy is not None and not member.owed and time.monotonic() - member.heard > self._config.timeout:
                found += self._hung(member)
        return found

    def close(self) -> None:
        """End all workers at once; what they have in hand is given up."""
        for member in self.members:
            member.process.kill()
        for member in self.members:
            member.process.join()
            member.connection.close()
        self.members = []

    def _start(self) -> Member:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=work, args=(theirs, self._config, self._crop_batch), daemon=True)
        with signals_held_back():
            process.start()
        theirs.close()
        return Member(process, ours)

    def _replace(self, member: Member) -> None:
        member.process.kill()
        member.process.join()
        member.connection.close()
        self.members[self.members.index(member)] = self._start()

    def _lost(self, member: Member) -> list[tuple[Member, FromWorker]]:
        member.process.join()
        code = member.process.exitcode or 0
        self._replace(member)
        if member.busy is None:
            return []
        cause = signal.Signals(-code).name if code < 0 else f"exit status {code}"
        return [(member, Failed(index=member.busy, stage="decode", error=f"the decoder crashed ({cause})"))]

    def _hung(self, member: Member) -> list[tuple[Member, FromWorker]]:
        self._replace(member)
        assert member.busy is not None
        error = f"the decoder did not get anywhere in {self._config.timeout:g} s"
        return [(member, Failed(index=member.busy, stage="decode", error=error))]


@contextlib.contextmanager
def signals_held_back() -> Generator[None]:
    """Start processes that signals do not reach: a terminal and a cluster send them to all, and one still importing would die, loudly."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, STOPPING)  # inherited; a worker lifts it when it is ready
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
