"""Trainings that can be killed: `est.train.fit` in processes that end themselves by SIGKILL at a chosen moment.

A moment is a number: steps, epochs, and everything that reaches the disk are counted together. Run as a program it is a server: for
each request, a line of JSON on stdin, it forks a child that trains, so that a kill costs no start of Python and torch. `Trainings` is
its client.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import traceback
from pathlib import Path

import torch
import torch._dynamo  # optimisers import it on first use, which takes longer than a training here

from est.cache.disk import PARTIAL, Disk
from est.train import Watch, checkpoint, fit, part
from est.train.configfile import from_flat, to_flat


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


class Ticking(Watch):
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
    part.SECONDS_BETWEEN_CHECKPOINTS = request["seconds"]
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


def serve():
    """Fork a child for each request; say how it ended."""
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                _child(request)
                status = 0
            except Exception:  # noqa: BLE001
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        _, status = os.waitpid(pid, 0)
        os.write(1, f"end {os.waitstatus_to_exitcode(status)}\n".encode())


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
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        moments = 0
        while not (line := self._server.stdout.readline()).startswith("end"):
            assert line, "the server has died"
            moments = int(line.split()[1])
        return int(line.split()[1]), moments

    def close(self):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


if __name__ == "__main__":
    serve()
