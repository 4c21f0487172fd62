"""Trainings that can be killed: `est.train.fit` in processes that end themselves by SIGKILL at a chosen moment.

A moment is a number: steps, epochs, and everything that reaches the disk are counted together. Run as a program it is a server: for
each request, a line of JSON on stdin, it forks a child that trains, or two that train together, so that neither costs a start of Python
and torch. `Trainings` is its client; the fixture `trainings` starts one for all tests of a process.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import torch
import torch._dynamo  # optimisers import it on first use, which takes longer than a training here
from world_processes import free_port

from est.cache.stores.disk import PARTIAL, Disk
from est.errors import EstError
from est.train import TrainingWatch, fit
from est.train.config.configfile import from_flat, to_flat
from est.train.loop import checkpoint, epochs
from est.train.loop import fold_training as part

PATIENCE = 240.0  # seconds that a request may take


class Clock:
    """Counts moments, and kills this process at one of them."""

    def __init__(self, stop):
        self.count, self._stop = 0, stop

    def tick(self):
        self.count += 1
        if self.count == self._stop:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self):
        """Make moments of all that reaches the disk: before it, in its middle, after it."""
        write, rename, save = Disk.write, Disk.rename, checkpoint.save_file

        def half_write(disk, path, data):
            path.with_name(path.name + PARTIAL).write_bytes(bytes(data)[: len(data) // 2])
            self.tick()
            write(disk, path, data)
            self.tick()

        def counted_rename(disk, source, target):
            self.tick()
            rename(disk, source, target)
            self.tick()

        def half_append(path, text):
            with open(path, "a", encoding="utf-8") as file:
                file.write(text[: len(text) // 2])
                file.flush()
                self.tick()
                file.write(text[len(text) // 2 :])
            self.tick()

        def half_save(tensors, path, metadata):
            save(tensors, path, metadata)
            if self.count + 1 == self._stop:  # only who is killed leaves a half: a backbone's checkpoint is large
                os.truncate(path, path.stat().st_size // 2)
            self.tick()

        Disk.write, Disk.rename = half_write, counted_rename
        part.append = half_append
        checkpoint.save_file = half_save


class Ticking(TrainingWatch):
    """Makes moments of steps and epochs."""

    def __init__(self, clock):
        self.clock = clock

    def step(self, epoch, step):
        self.clock.tick()

    def epoch(self, part, record):
        self.clock.tick()

    def end(self, part, result):
        self.clock.tick()


def _child(request):
    """Train, or go on; say how many moments that took."""
    epochs.SECONDS_BETWEEN_CHECKPOINTS = request["seconds"]
    os.fsync = lambda descriptor: None  # a killed process loses nothing that it wrote, flushed or not
    torch.set_num_threads(1)
    clock = Clock(request["stop"])
    clock.install()
    watch = Ticking(clock)
    if request["config"] is None:
        fit(None, request["out"], resume=True, watch=watch)
    else:
        fit(request["cache"], request["out"], from_flat(request["config"]), watch=watch)
    os.write(1, f"moments {clock.count}\n".encode())


class Lost(TrainingWatch):
    """Is gone after some steps."""

    def __init__(self, after):
        self.left = after

    def step(self, epoch, step):
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def _together(rank, tasks):
    """Be one of two processes that do some trainings, one after the other; write what came of each."""
    os.environ |= {"WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1"}
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    for task in tasks:
        os.environ["MASTER_PORT"] = str(task["port"])  # who is early must not meet the others where they met before
        epochs.SECONDS_BETWEEN_CHECKPOINTS = task["seconds"]
        watch = Lost(task["lost"]) if rank == 1 and task["lost"] else TrainingWatch()
        try:
            results = fit(task["cache"], task["out"], from_flat(task["config"]), watch=watch)
            found = [results.scores.right, results.scores.total, results.run.complete]
        except EstError as error:
            found = [type(error).__name__, error.message, error.remedy]
        os.write(1, (json.dumps([rank, found]) + "\n").encode())


def _fork(function, *arguments):
    """Call a function in a child; return its process number."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        function(*arguments)
        status = 0
    except Exception:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def serve():
    """Fork a child for each request, or two that train together; say how they ended."""
    for line in sys.stdin:
        request = json.loads(line)
        tasks = request.get("tasks")
        pids = [_fork(_child, request)] if tasks is None else [_fork(_together, rank, tasks) for rank in range(2)]
        ended = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
        os.write(1, f"end {json.dumps(ended)}\n".encode())


class Trainings:
    """The client of one server."""

    def __init__(self):
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"},
        )

    def run(self, out: Path, *, cache=None, config=None, stop=0, seconds=0.0):
        """Train into `out`, or go on there without `config`; return the exit status and the moments that passed."""
        request = {"out": str(out), "cache": str(cache), "stop": stop, "seconds": seconds}
        request["config"] = None if config is None else to_flat(config)
        told, (status,) = self._ask(request)
        return status, int(told[-1].split()[1]) if told else 0

    def together(self, *tasks):
        """Train in two processes; return what each said of each task, and how they ended."""
        told, ended = self._ask({"tasks": [{**task, "port": free_port()} for task in tasks]})
        said = [json.loads(line) for line in told]
        return [[found for rank, found in said if rank == number] for number in range(2)], ended

    def _ask(self, request):
        """Send a request; return the lines that came, and the exit status of each process."""
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        told = []
        watchdog = threading.Timer(
            PATIENCE, self._server.kill
        )  # processes that wait for each other would wait for ever
        watchdog.start()
        try:
            while not (line := self._server.stdout.readline()).startswith("end"):
                assert line, "the server has died, or was killed because its processes hung"
                told.append(line)
        finally:
            watchdog.cancel()
        return told, json.loads(line.removeprefix("end"))

    def close(self):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


if __name__ == "__main__":
    serve()
