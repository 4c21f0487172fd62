"""The folder beside an output in which its jobs keep what they know: `cache.zarr.submit/`.

    manifest.json          what is to be done, written before anything begins; inputs/0000.json … the inputs of each shard
    shards/0000.zarr …     a cache each, until they are merged
    states/0000.json …     how far each part is; 0000.lock is held by the process that works on it
    logs/0000.log …        what it says
    computation/           what all compute with, where that was left to the machine: the first part's choice
    queue.json             the jobs of Slurm, and with which options they were submitted
    slurm/                 what submitit keeps

The last part, which joins what the others made, is called `last`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..cache.stores.disk import Disk
from ..cache.stores.lock import WriterLock
from ..errors import CacheLocked, EstError, NoLocks, UsageError, quoted

SUFFIX = ".submit"
STORES = (".zarr", ".h5")
LAST = -1  # the number of the part that joins the others


@dataclass(frozen=True)
class Place:
    """Where the parts of one submission lie."""

    out: Path  # what comes of it: a cache, or the folder of a sweep

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Path(self.out).absolute())

    @property
    def folder(self) -> Path:
        """Return the folder."""
        return self.out.with_name(self.out.name + SUFFIX)

    @property
    def job_name(self) -> str:
        """Return what its jobs are called in a queue."""
        return "est-" + re.sub(r"[^\w.-]+", "_", self.out.stem)

    @property
    def manifest(self) -> Path:
        """Return the file that says what is to be done."""
        return self.folder / "manifest.json"

    @property
    def queue(self) -> Path:
        """Return the file that names the jobs of Slurm."""
        return self.folder / "queue.json"

    @property
    def slurm(self) -> Path:
        """Return the folder of submitit."""
        return self.folder / "slurm"

    @property
    def computation(self) -> Path:
        """Return the file that says what all parts compute with; its folder comes with it, whole."""
        return self.folder / "computation" / "chosen.json"

    def inputs(self, number: int) -> Path:
        """Return the file of a shard's inputs."""
        return self.folder / "inputs" / f"{named(number)}.json"

    def shard(self, number: int) -> Path:
        """Return the cache of a shard."""
        return self.folder / "shards" / f"{named(number)}.zarr"

    def state(self, number: int) -> Path:
        """Return the file that says how far a part is."""
        return self.folder / "states" / f"{named(number)}.json"

    def held(self, number: int) -> Path:
        """Return what the process that works on a part holds the lock of."""
        return self.folder / "states" / named(number)

    @property
    def starter(self) -> Path:
        """Return what the process that starts those of this machine holds the lock of."""
        return self.folder / "starter"

    def log(self, number: int) -> Path:
        """Return the file of what a part says."""
        return self.folder / "logs" / f"{named(number)}.log"

    @property
    def remedy(self) -> str:
        """Say what helps where its files are damaged."""
        return f"rm -r {quoted(self.folder)}, which removes unfinished shards too, then submit again"

    def make_folder(self) -> None:
        """Make the folder itself, or say why it cannot be."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EstError(
                f"{self.folder} cannot be made: {error.strerror}.", remedy="--out in another folder"
            ) from error

    def make(self) -> None:
        """Make the folders in it."""
        for name in ("inputs", "shards", "states", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)

    def expect(self) -> None:
        """Refuse to look for a submission where there is none."""
        if self.manifest.is_file():
            return
        message, remedy = f"Nothing was submitted for {self.out}: {self.manifest} is not there.", ""
        if self.out.name.endswith(SUFFIX) and (self.out / self.manifest.name).is_file():
            message = f"{self.out} is the folder of the parts; what was submitted has its name without {SUFFIX}."
            remedy = f"est submit status {quoted(self.out.with_name(self.out.name.removesuffix(SUFFIX)))}"
        elif self.out.suffix in STORES and self.out.exists():
            message = (
                f"{self.out} is there, and has no parts: {self.manifest} is not there. est extract or "
                "--engine ray made it, or its folder of parts was removed."
            )
            remedy = f"est cache info {quoted(self.out)}"
        elif self.out.suffix in STORES:
            remedy = f"est submit extract INPUT --out {quoted(self.out)} --shards 8"
        elif (self.out / "settings.json").exists():
            message = f"{self.out} is a sweep of one machine: no jobs were submitted for it."
            remedy = f"est sweep with --out {quoted(self.out)} and the same options resumes it"
        else:
            remedy = f"est submit sweep --cache CACHE --out {quoted(self.out)}; the OUT of an extraction ends in {' or '.join(STORES)}"
        raise UsageError(message, remedy=remedy)


def named(number: int) -> str:
    """Return the name of a part's files."""
    return "last" if number == LAST else f"{number:04d}"


def write_json(path: Path, data: Any) -> None:
    """Write a file of JSON, whole or not at all."""
    disk = Disk()
    disk.write(path, json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode())
    disk.flush_folder(path.parent)


def read_json(path: Path, *, remedy: str = "") -> Any:
    """Read a file of JSON that est wrote."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        raise EstError(f"{path} cannot be read.", remedy=remedy or f"rm {quoted(path)}, if it is damaged") from error


@contextmanager
def holding(path: Path, what: str) -> Generator[None]:
    """Hold a lock while the block runs; `what` another process works on, where it is held already."""
    lock = WriterLock(path)
    try:
        lock.acquire()
    except NoLocks:
        raise
    except CacheLocked as error:
        reason = error.message.partition(" being written ")[2] or error.message
        raise CacheLocked(
            f"{what} is under way already, {reason}", remedy="wait for it; or est submit cancel, which ends it in order"
        ) from None  # the message of the lock names its own file, which the user does not know
    try:
        yield
    finally:
        lock.release()
