"""The parts as processes of this machine: a few at once, in the foreground, until all are done.

An extraction uses every core by itself, so that one part at a time is as fast as several on a processor, and takes less memory; with
several GPUs there is a part on each. Whatever is killed, the same call again does what is missing: parts that are done stay, and a part
whose process outlived this one is waited for.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Collection, Iterable
from dataclasses import asdict, replace
from pathlib import Path

from ..cache.interrupt import listening
from ..cache.stores.lock import WriterLock, holder_of, writer_of
from ..cache.watch import Progress, Watch
from ..errors import EstError
from .parts import Manifest, is_done
from .place import LAST, Place, holding, write_json
from .state import BEAT, State, read_state, tail

STEP = 0.2  # seconds between two looks at the processes
PATIENCE = 10  # times that a process that has a lock is waited for to sign it
SECONDS = 1.0  # between heartbeats, which the progress here is made of


def run_local(place: Place, manifest: Manifest, *, max_parallel: int | None, watch: Watch) -> bool:
    """Do all parts that are not done; say whether Ctrl-C, or another signal, stopped it."""
    from ..encoders.device import num_cores  # here: to stop processes takes no torch

    gpus = _gpus() if manifest.device in ("auto", "cuda") else []
    most = max_parallel or max(manifest.at_once, len(gpus))
    workers = max(1, num_cores() // most) if most > 1 and not gpus else None
    done = {number for number in range(manifest.parts) if is_done(place, manifest, number)}
    waiting = [number for number in range(manifest.parts) if number not in done]
    for number in waiting:
        if not _works_elsewhere(place, number):
            place.log(number).unlink(missing_ok=True)
    children: dict[int, subprocess.Popen[bytes]] = {}
    slots: dict[int, int] = {}  # part → which of those that run at once it is
    told: Progress | None = None
    one = holding(place.starter, f"The work on {place.out}")
    with listening((signal.SIGINT, signal.SIGTERM, signal.SIGHUP)) as stop, one:
        try:
            while (waiting or children) and not stop.wanted:
                for number in [number for number, child in children.items() if child.poll() is not None]:
                    _record_end(place, manifest, number, children.pop(number).returncode)
                    slots.pop(number)
                elsewhere = [number for number in waiting if _works_elsewhere(place, number)]
                ready = [number for number in waiting if number not in elsewhere]
                for number in ready[: max(0, most - len(children) - len(elsewhere))]:
                    waiting.remove(number)
                    if is_done(place, manifest, number):  # by a process that outlived the one that started it
                        continue
                    slots[number] = min(set(range(most)) - set(slots.values()))
                    gpu = gpus[slots[number] % len(gpus)] if gpus and most > 1 else ""
                    children[number] = _start(place, number, workers, gpu)
                done |= {n for n in range(manifest.parts) if n not in waiting and n not in children}
                now = _progress(place, manifest, done, len(children) + len(elsewhere))
                if now != told:
                    watch.progress(now)
                    told = now
                time.sleep(max(STEP, manifest.parts / 1000))
        finally:
            _stop(children.values())
            for number, child in children.items():
                _record_end(place, manifest, number, child.returncode, is_stopped=True)
    return stop.wanted


def stop_local(place: Place, manifest: Manifest) -> list[str]:
    """Stop the processes of this machine that work on parts, and the one that starts them; return the names of their locks."""
    return [path.name for path in _locks(place, manifest) if _stop_holder(path)]


def held_elsewhere(place: Place, manifest: Manifest) -> list[str]:
    """Name the other machines whose processes work on parts, or start them."""
    holders = [holder_of(path) for path in _locks(place, manifest) if writer_of(path) is not None]
    return sorted({one.host for one in holders if one is not None} - {socket.gethostname()})


def _locks(place: Place, manifest: Manifest) -> list[Path]:
    """Return what the processes that work on parts, or start them, hold the locks of."""
    return [place.starter, *(place.held(number) for number in (*range(manifest.parts), LAST))]


def _stop_holder(path: Path) -> bool:
    """Stop the process of this machine that holds the lock of a path; return whether there is one."""
    for _ in range(PATIENCE):
        if writer_of(path) is None:
            return False
        if (holder := holder_of(path)) is not None:
            if holder.host != socket.gethostname():
                return False
            try:
                os.kill(holder.pid, signal.SIGTERM)
            except ProcessLookupError:  # it has ended at this moment
                return False
            except PermissionError as error:
                raise EstError(
                    f"{holder} is another user's, who holds {WriterLock(path).path}.",
                    remedy="ask them for est submit cancel",
                ) from error
            return True
        time.sleep(STEP)  # it has the lock, and has not signed yet
    raise EstError(
        f"{WriterLock(path).path} does not say which process holds it: it is damaged.",
        remedy="end the est submit that runs by Ctrl-C, or by kill; what is done stays",
    )


def _start(place: Place, number: int, workers: int | None, gpu: str) -> subprocess.Popen[bytes]:
    """Start a process that does one part; what it says goes to its log."""
    words = [sys.executable, "-m", "est", "submit", "work", str(place.out), "--part", str(number)]
    words += ["--workers", str(workers)] if workers else []
    chosen = {BEAT: str(SECONDS)} | ({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})
    with open(place.log(number), "ab") as log:
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, **chosen})


def _stop(children: Iterable[subprocess.Popen[bytes]]) -> None:
    """Let processes commit what they have, and wait for them."""
    running = [child for child in children if child.poll() is None]
    for child in running:
        child.terminate()
    for child in running:
        child.wait()


def _record_end(place: Place, manifest: Manifest, number: int, status: int, *, is_stopped: bool = False) -> None:
    """Write why a part has failed, where its process could not; one that was stopped before it could listen has not failed."""
    state = read_state(place.state(number))
    if is_done(place, manifest, number) or (
        state is not None and (state.state != "running" or state.is_alive(place, number))
    ):
        return
    known = replace(state or State(state="failed"), ended=time.time())
    if is_stopped and status == -signal.SIGTERM:
        ended = replace(known, state="stopped")
    else:
        how = f"by {signal.Signals(-status).name}" if status < 0 else f"with status {status}"
        why = ", as the kernel does when memory runs out" if status == -signal.SIGKILL else ""
        if not why and (last := tail(place.log(number), 1)):
            why = f": {last[0].strip()}"
        ended = replace(known, state="failed", error=f"its process was ended {how}{why}")
    write_json(place.state(number), asdict(ended))


def _works_elsewhere(place: Place, number: int) -> bool:
    """Say whether a process that was not started here works on a part."""
    state = read_state(place.state(number))
    return state is not None and state.is_alive(place, number)


def _progress(place: Place, manifest: Manifest, ended: Collection[int], working: int) -> Progress:
    """Add up how far all parts are."""
    total = sum(manifest.inputs_of(number) for number in range(manifest.parts))
    left = failed = 0
    for number in range(manifest.parts):
        state = read_state(place.state(number))
        known = state.left if state is not None else None
        left += manifest.inputs_of(number) if known is None else known
        failed += 0 if state is None else state.failed
    stage = f"{len(ended)}/{manifest.parts} {manifest.part}s, {working} at work"
    return Progress(what=manifest.doing, unit=manifest.unit, done=total - left, total=total, stage=stage, failed=failed)


def _gpus() -> list[str]:
    """Name the GPUs that this process may use."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name for name in chosen.split(",") if name.strip() and name.strip() != "-1"]
    from torch import cuda

    return [str(number) for number in range(cuda.device_count())]
