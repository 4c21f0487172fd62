"""Processes that learn together on this machine: functions of a test module, which each of them calls as `function(world, **arguments)`.

A function that fails and has a `linger` has that called too, before its process ends. Run as a program with the names of test modules
this is a server: for each request on stdin it forks so many processes, so that a world costs no start of Python and torch. `Worlds` is
its client. Started by torchrun, it is one of the processes itself.
"""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

PATIENCE = 120  # seconds; whoever takes longer hangs


@dataclass(kw_only=True)
class Answer:
    """How one process ended."""

    value: Any = None
    error: Exception | None = None
    killed: int = 0  # by which signal
    hung: bool = False


class Worlds:
    """Starts processes, as often as asked."""

    def __init__(self, *modules):
        """Start the server; modules are the files whose functions will be asked for."""
        names = [str(Path(module).with_suffix("")) for module in modules]
        self._folder = tempfile.TemporaryDirectory(prefix="est-worlds-")
        self._server = subprocess.Popen(
            [sys.executable, "-W", "error", __file__, self._folder.name, *names],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )

    def end(self, size, function, **arguments):
        """Return how each of so many processes ended."""
        name = (Path(function.__code__.co_filename).stem, function.__name__)
        pickle.dump((size, name, arguments), self._server.stdin)
        self._server.stdin.flush()
        return pickle.load(self._server.stdout)

    def ask(self, size, function, **arguments):
        """Return what each of so many processes found; an error is raised here."""
        answers = self.end(size, function, **arguments)
        for answer in answers:
            if answer.error is not None:
                raise answer.error
            assert not answer.killed, answers
            assert not answer.hung, answers
        return [answer.value for answer in answers]

    def close(self):
        self._folder.cleanup()
        self._server.stdin.close()
        self._server.stdout.close()
        assert self._server.wait(PATIENCE) == 0


def free_port():
    """Return a port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(folder, modules):
    """Answer requests until stdin ends."""
    import torch.distributed  # noqa: F401  before the forks, once for all

    sys.path += sorted({str(Path(module).parent) for module in modules})
    functions = {Path(module).name: import_module(Path(module).name) for module in modules}
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what processes print is no answer
    while True:
        try:
            size, (module, name), arguments = pickle.load(requests)
        except EOFError:
            return
        port, found = free_port(), [Path(folder) / f"{rank}" for rank in range(size)]
        children = [
            fork(rank, size, port, getattr(functions[module], name), arguments, found[rank]) for rank in range(size)
        ]
        ended = wait(children)
        pickle.dump([read(status, path) for status, path in zip(ended, found, strict=True)], answers)
        answers.flush()


def fork(rank, size, port, function, arguments, path):
    """Start one process."""
    path.unlink(missing_ok=True)
    child = os.fork()
    if child:
        return child
    try:
        os.environ |= {"RANK": f"{rank}", "WORLD_SIZE": f"{size}", "LOCAL_RANK": f"{rank}"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": f"{port}"}
        os.environ["GLOO_SOCKET_IFNAME"] = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        path.write_bytes(pickle.dumps(run(function, arguments)))
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        os._exit(0)  # the server's own loop is below this frame


def run(function, arguments):
    """Call a function in a world."""
    import torch

    from est.train.loop.world import joined

    try:
        with joined(torch.device("cpu")) as world:
            return Answer(value=function(world, **arguments))
    except Exception as error:  # noqa: BLE001  the client raises it
        error.add_note(traceback.format_exc())
        getattr(function, "linger", lambda **_: None)(**arguments)
        return Answer(error=error)


def wait(children):
    """Return each child's status; None for one that hung, and is ended here."""
    ended, deadline = {}, time.monotonic() + PATIENCE
    while len(ended) < len(children):
        for child in set(children) - set(ended):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                ended[child] = status
            elif time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                ended[child] = None
        time.sleep(0.005)
    return [ended[child] for child in children]


def read(status, path):
    """Return how a child ended."""
    assert path.exists() or status is None or os.WIFSIGNALED(status), "its answer cannot be sent: see above"
    if status is None:
        return Answer(hung=True)
    if os.WIFSIGNALED(status):
        return Answer(killed=os.WTERMSIG(status))
    return pickle.loads(path.read_bytes())


def one_of_torchrun(path):
    """Write who the processes are that torchrun started."""
    import torch

    from est.train.loop.world import joined, own_device

    with joined(torch.device("cpu")) as world:
        assert own_device(torch.device("cpu")) == torch.device("cpu")
        pids = world.gather(os.getpid())
        if world.first:
            Path(path).write_text(f"{world.size} {len(set(pids))}", encoding="ascii")


if __name__ == "__main__":
    if "TORCHELASTIC_RUN_ID" in os.environ:
        one_of_torchrun(sys.argv[1])
    else:
        import world_processes  # by its name, under which the client knows the answers

        world_processes.serve(sys.argv[1], sys.argv[2:])
