"""Commands of est in forked children of a process that has imported everything: a command costs no start of Python and torch.

The process that forks starts no thread and computes nothing, because threads and locks do not survive a fork: reading results and
comparing them are children's work too (`ask`). Processes that a killed command leaves behind become this one's children (`orphans`).
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import pickle
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODULES = (
    "torch",
    "cv2",
    "av",
    "h5py",
    "zarr",
    "optuna",
    "est.cli",
    "est.commands.caches.cache",
    "est.commands.extracting.extract",
    "est.commands.results.export",
    "est.commands.results.predict",
    "est.commands.results.report",
    "est.commands.training.sweep",
    "est.commands.training.train",
    "est.extract.extraction",
    "est.infer",
    "est.sweep",
    "est.train",
)
PR_SET_CHILD_SUBREAPER = 36
PATIENCE = 240.0  # seconds after which a command counts as hung


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a command ended."""

    status: int  # negative: the signal
    said: str  # on stdout and stderr
    seconds: float

    @property
    def killed(self) -> bool:
        """Say whether SIGKILL ended it."""
        return self.status == -signal.SIGKILL


@dataclass(kw_only=True)
class Child:
    """A command at work."""

    pid: int
    output: int  # descriptor
    begun: float

    def kill(self) -> None:
        """End it as `kill -9` does; it is not waited for yet, so the number is still its own."""
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, seconds: float = PATIENCE) -> Ended:
        """Wait for its end; kill it and say so where that does not come."""
        descriptor = os.pidfd_open(self.pid)
        try:
            is_hung = not select.select([descriptor], [], [], seconds)[0]
        finally:
            os.close(descriptor)
        if is_hung:
            self.kill()
        _, status = os.waitpid(self.pid, 0)
        said = os.pread(self.output, os.fstat(self.output).st_size, 0).decode(errors="replace")
        os.close(self.output)
        said += f"\nhung for {seconds:g} s" * is_hung
        return Ended(status=os.waitstatus_to_exitcode(status), said=said, seconds=time.monotonic() - self.begun)


def warm_up(modules: Sequence[str] = MODULES) -> None:
    """Import all that commands import, and become the parent of what they leave behind."""
    os.environ["OMP_NUM_THREADS"] = "1"
    os.environ["PYTHONWARNINGS"] = "ignore"
    for name in modules:
        importlib.import_module(name)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    assert threading.active_count() == 1, "an import has started a thread, which no child would have"


def begin(command: Sequence[str], folder: Path, before: Callable[[], None] = lambda: None) -> Child:
    """Start `est COMMAND` in a folder; `before` is called in the child first."""
    output = os.memfd_create("output", os.MFD_CLOEXEC)

    def work() -> None:
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(folder)
        before()
        importlib.import_module("est.cli").main(list(command))

    begun = time.monotonic()
    return Child(pid=_fork(work), output=output, begun=begun)


def run(command: Sequence[str], folder: Path, before: Callable[[], None] = lambda: None) -> Ended:
    """Run `est COMMAND` in a folder to its end."""
    return begin(command, folder, before).wait()


def ask(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a child and return what it returns; what it raises is raised here."""
    reading, writing = os.pipe()

    def work() -> None:
        try:
            answer = True, function(*arguments)
        except Exception as error:  # noqa: BLE001
            answer = False, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"
        with open(writing, "wb") as file:
            pickle.dump(answer, file)

    pid = _fork(work)
    os.close(writing)
    with open(reading, "rb") as file:
        data = file.read()
    _, status = os.waitpid(pid, 0)
    if not data:
        raise ChildProcessError(f"the child ended with status {os.waitstatus_to_exitcode(status)}")
    is_good, value = pickle.loads(data)
    if not is_good:
        raise AssertionError(value)
    return value


def wait_for(function: Callable[[], Any]) -> int:
    """Call a function in a child, and return how that ended: 0, or a signal's number below 0."""
    return os.waitstatus_to_exitcode(os.waitpid(_fork(function), 0)[1])


def orphans(seconds: float = 20.0) -> int:
    """Wait for the processes that killed commands left behind; return how many did not end, after ending them."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return 0
        if pid == 0 and time.monotonic() > deadline:
            break
        if pid == 0:
            time.sleep(0.01)
    left = _children()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return len(left)


def _children() -> list[int]:
    """Return the processes whose parent this one is."""
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def _fork(work: Callable[[], None]) -> int:
    """Call a function in a child that ends as a program does; return its process number."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        try:
            work()
            status = 0
        except SystemExit as end:
            status = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        threading._shutdown()  # ty: ignore[unresolved-attribute]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)
