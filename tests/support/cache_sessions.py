"""Writer sessions that can be killed: what a user does to one cache in four runs, each of which goes on where a killed one stopped.

Run as a program it is a server: for each request, a line of JSON on stdin, it forks a child that runs one session, so that a kill costs
milliseconds and no start of Python. `Sessions` is its client.
"""

from __future__ import annotations

import errno
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

from cache_samples import LABELS, SMALL, make_clip, make_failure, sample_recipes

from est.cache import CacheWriter
from est.cache.stores.disk import PARTIAL, Disk
from est.cache.stores.hdf5_builder import Hdf5Builder
from est.cache.writing import writer

PHASES = ("first", "second", "fill", "third")
BOTH = ("gap", "map")
REPLACED, RELABELLED, REMOVED = (3, 7), (2, 6), 5
VERSIONS = dict.fromkeys(REPLACED, 1)  # after the second phase


def run_phase(path, phase, *, crops=True, disk=None):
    """Do what one phase is about; whatever of it was committed before is not done again."""
    features = ("gap",) if phase in ("first", "second") else BOTH
    settings = {"labels": LABELS, "layout": SMALL, "crops": crops, "disk": disk}
    with CacheWriter.open(path, sample_recipes(features), **settings) as cache:
        {"first": _first, "second": _second, "fill": _fill, "third": _third}[phase](cache, crops)


def _first(cache, crops):
    for index in range(12):
        _extract(cache, index, crops, fails=index in (4, 9))


def _second(cache, crops):
    if f"set/clip {REMOVED:03d}" in cache:
        cache.remove([f"set/clip {REMOVED:03d}"])
    cache.update("set/clip 002", label="contempt", subject="Ünal")
    cache.update("set/clip 006", split="val", fold=9)
    cache.commit_if_due()
    for index in (*range(REMOVED), *range(REMOVED + 1, 14)):
        _extract(cache, index, crops, version=VERSIONS.get(index, int(index == 9)), fails=index in (9, 13))


def _fill(cache, crops):
    if "map" in cache.manifest.recipes.features:
        return
    filler = cache.fill("map", sample_recipes(BOTH).features["map"])
    while (clip_id := filler.next_clip) is not None:
        index = int(clip_id[-3:])
        clip = make_clip(index, version=VERSIONS.get(index, 0), features=BOTH)
        filler.add(clip_id, clip.features["map"], clip.state)
        cache.commit_if_due()


def _third(cache, crops):
    if "set/clip 008" in cache:
        cache.remove(["set/clip 008"])
    cache.update("set/clip 013", label="awe", subject="Åse", split="", fold=8)  # a failure
    for index in (14, 15, 16):
        _extract(cache, index, crops, features=BOTH)


def _extract(cache, index, crops, *, version=0, fails=False, features=("gap",)):
    clip = make_clip(index, version=version, crops=crops, features=features)
    status = cache.status(clip.id, clip.source)
    if fails and status != "failed":
        cache.fail(make_failure(index, version=version))
    elif not fails and status != "unchanged":
        cache.add(clip, replacing=True)


class Counter:
    """Counts what reaches the file system, and acts at number `stop` of it: just before, or once it is done."""

    def __init__(self, stop=0, act=lambda: None, *, after=False, log=None):
        self.count = 0
        self._stop, self._act, self._after, self._log = stop, act, after, log

    def wrap(self, function, label):
        @functools.wraps(function)
        def counted(*args, **kwargs):
            self.count += 1
            mine = self.count == self._stop
            if self._log is not None:
                where = Path(os.fsdecode(args[0])).name if args and isinstance(args[0], str | bytes | Path) else ""
                self._log.append(f"{label} {where}")
            if mine and not self._after:
                self._act()
            result = function(*args, **kwargs)
            if mine and self._after:
                self._act()
            return result

        return counted

    def install(self):
        """Count every call that this process makes from now on."""
        for name in ("fsync", "rename", "unlink", "rmdir", "mkdir"):
            setattr(os, name, self.wrap(getattr(os, name), name))
        for name in ("array", "write", "strings", "close"):
            setattr(Hdf5Builder, name, self.wrap(getattr(Hdf5Builder, name), f"hdf5 {name}"))
        remove, pause = shutil.rmtree, self.wrap(lambda folder: None, "rmtree")

        def rmtree(folder):
            (folder / "zarr.json").unlink(missing_ok=True)  # a folder's files go in any order: here the worst one
            pause(folder)
            remove(folder)

        shutil.rmtree = rmtree


class HalfDisk(Disk):
    """Writes half of each file first, so that a kill may fall between the halves."""

    def __init__(self, counter):
        self._pause = counter.wrap(lambda path: None, "half")

    def write(self, path, data):
        path.with_name(path.name + PARTIAL).write_bytes(bytes(data)[: len(data) // 2])
        self._pause(path)
        super().write(path, data)


class FaultyDisk(Disk):
    """Fails at operation number `stop`, and from then on if `lasting`, before it is done or after."""

    OPERATIONS = ("write", "make_folder", "flush_file", "flush_folder", "rename", "remove")

    def __init__(self, stop=0, number=errno.ENOSPC, *, after=False, lasting=False):
        self.count = 0
        self.said = []
        self._stop, self._number, self._after, self._lasting = stop, number, after, lasting

    def _counted(self, name, *args):
        self.count += 1
        self.said.append(f"{name} {args[0].name}")
        fails = self._stop and (self.count == self._stop or (self._lasting and self.count > self._stop))
        if not fails or self._after:
            getattr(super(), name)(*args)
        if fails:
            raise OSError(self._number, os.strerror(self._number), str(args[0]))


for _name in FaultyDisk.OPERATIONS:
    setattr(FaultyDisk, _name, functools.partialmethod(FaultyDisk._counted, _name))


def _child(request):
    """Run a session in a forked process, which says what it has committed."""
    commit = CacheWriter.commit

    def telling_commit(self):
        before = self.manifest.commit.sequence
        commit(self)
        if self.manifest.commit.sequence > before:
            os.write(1, f"{self.manifest.commit.sequence}\n".encode())

    CacheWriter.commit = telling_commit
    writer.COMMIT_SECONDS = request.get("commit_seconds", 20)
    log = [] if "log" in request else None
    stop = request.get("stop", 0)
    os.fsync = lambda descriptor: None  # a killed process loses nothing that it wrote, flushed or not
    counter = Counter(stop, lambda: os.kill(os.getpid(), signal.SIGKILL), after=request.get("after", False), log=log)
    counter.install()
    run_phase(Path(request["path"]), request["phase"], crops=request["crops"], disk=HalfDisk(counter))
    if log is not None:
        Path(request["log"]).write_text("\n".join(log), encoding="utf-8")


def serve():
    """Fork a child for each request: its pid, what it says, and how it ended go to stdout."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # but for a session itself
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                try:
                    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
                    _child(request)
                    status = 0
                finally:
                    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
            except KeyboardInterrupt:
                status = 130
            except Exception:  # noqa: BLE001
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        os.write(1, f"pid {pid}\n".encode())
        if "signal" in request:
            time.sleep(request["delay"])
            os.kill(pid, request["signal"])  # it is not waited for yet, so the pid is still its own
        _, status = os.waitpid(pid, 0)
        os.write(1, f"end {os.waitstatus_to_exitcode(status)}\n".encode())


class Sessions:
    """The client of one server."""

    def __init__(self):
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def start(self, path, phase, *, crops=True, **options):
        """Begin a session and return its pid; for the options see `_child`, and `signal` and `delay` in `serve`."""
        request = {"path": str(path), "phase": phase, "crops": crops, **options}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        self._said = []
        while not (line := self._server.stdout.readline()).startswith("pid"):
            self._said.append(line)
        return int(line.split()[1])

    def finish(self):
        """Wait for the session's end; return its exit status and the last commit that it told of."""
        while not (line := self._server.stdout.readline()).startswith("end"):
            assert line, "the server has died"
            self._said.append(line)
        return int(line.split()[1]), max((int(number) for number in self._said), default=0)

    def run(self, path, phase, **options):
        """Run a session to its end."""
        self.start(path, phase, **options)
        return self.finish()

    def close(self):
        self._server.stdin.close()
        self._server.wait()
        self._server.stdout.close()


if __name__ == "__main__":
    serve()
