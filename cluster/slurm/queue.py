"""What was handed to Slurm: which job does which part, and with which options; and what its queue says of them now."""

from __future__ import annotations

import getpass
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ...errors import EstError, quoted
from ..place import Place, read_json, write_json
from ..reading import expect_types, reading
from .options import SlurmOptions

PATIENCE = 60  # seconds for a command of Slurm
HELD = "held by Slurm"  # until somebody releases it: after a launch that failed, for example


@dataclass(frozen=True, kw_only=True)
class Queue:
    """The jobs of the last submission."""

    engine: str = ""
    options: SlurmOptions = field(default_factory=SlurmOptions)
    keep_shards: bool = False
    jobs: Mapping[int, str] = field(default_factory=dict)  # part → the job that does it


def read_queue(place: Place) -> Queue:
    """Return what was handed over; nothing where nothing was."""
    remedy = (
        f"rm {quoted(place.queue)}, once squeue shows that no jobs are left; then est submit retry {quoted(place.out)}"
    )
    try:
        data = read_json(place.queue, remedy=remedy)
    except FileNotFoundError:
        return Queue()
    with reading(place.queue, remedy):
        jobs = {int(number): job for number, job in data["jobs"].items()}
        known: dict[str, Any] = {**data, "options": SlurmOptions(**data["options"]), "jobs": jobs}
        return expect_types(Queue(**known))


def write_queue(place: Place, queue: Queue) -> None:
    """Remember what was handed over."""
    write_json(place.queue, asdict(queue))


def waiting(queue: Queue) -> dict[int, str]:
    """Return the parts whose jobs are in Slurm's queue, waiting or running, with Slurm's word for it, or how to release a held one."""
    if not queue.jobs or shutil.which("squeue") is None:  # looked at from a machine that does not know the cluster
        return {}
    listed = slurm("squeue", "--noheader", "--array", "--user", getpass.getuser(), "--format", "%i|%T|%r")
    known = {}
    for line in listed.splitlines():
        if line.count("|") != 2:  # something else that is printed there
            continue
        job, state, reason = line.strip().split("|")
        known[job] = f"{HELD}: {reason}; scontrol release {job}" if "held" in reason.casefold() else state
    return {number: known[job] for number, job in queue.jobs.items() if job in known}


def slurm(*words: str) -> str:
    """Call a command of Slurm; return what it prints."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EstError(f"{words[0]} gives no answer.", remedy="try again; sinfo says whether Slurm is there") from error
    if done.returncode:
        raise EstError(
            f"{words[0]} failed: {done.stderr.strip() or done.stdout.strip()}", remedy="sinfo says how Slurm is"
        )
    return done.stdout
