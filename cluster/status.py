"""How far everything is that was submitted: what parts have written of themselves, what their caches record, what Slurm's queue says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from ..cache import open_cache
from ..cache.clip import Failure
from ..cache.stores.lock import writer_of
from ..cache.stores.snapshot import open_snapshot
from ..errors import EstError
from .parts import Manifest, is_done, read_manifest
from .place import LAST, Place, named
from .slurm.queue import HELD, read_queue, waiting
from .state import State, read_state, seconds_since_heartbeat, tail

SHOWN = 5  # failures
Stage = Literal["done", "running", "queued", "failed", "stopped", "missing"]
STAGES: tuple[Stage, ...] = ("done", "running", "queued", "failed", "stopped", "missing")


@dataclass(frozen=True, kw_only=True)
class Part:
    """How far one part is."""

    number: int
    state: Stage
    inputs: int = 0
    left: int | None = None
    failed: int = 0  # inputs
    attempt: int = 0
    host: str = ""
    job: str = ""
    heartbeat: float | None = None  # seconds since the last heartbeat
    error: str = ""
    remedy: str = ""
    log: Path
    tail: tuple[str, ...] = ()  # of the log, of a part that failed

    @property
    def name(self) -> str:
        """Return what its files are called."""
        return named(self.number)


@dataclass(frozen=True, kw_only=True)
class Submission:
    """Everything that was submitted for one output."""

    out: Path
    kind: str
    unit: str  # what a part is called
    engine: str
    parts: tuple[Part, ...]
    last: Part
    result: Mapping[str, Any]  # of the last step
    failures: tuple[Failure, ...] = ()  # the first of an extraction that is done

    @property
    def counts(self) -> dict[str, int]:
        """Count the parts by state."""
        found = Counter(part.state for part in self.parts)
        return {state: found[state] for state in STAGES if found[state]}

    @property
    def is_done(self) -> bool:
        """Say whether everything is done, the last step too."""
        return self.last.state == "done"

    @property
    def inputs(self) -> int:
        """Count the inputs."""
        return sum(part.inputs for part in self.parts)

    @property
    def left(self) -> int:
        """Count the inputs that are not done."""
        return sum(part.inputs if part.left is None else part.left for part in self.parts if part.state != "done")

    @property
    def open(self) -> list[int]:
        """Name the parts that nothing works on, and nothing will."""
        return [part.number for part in self.parts if part.state in ("failed", "stopped", "missing")]

    def to_json(self) -> dict[str, Any]:
        """Return it for machines."""
        return {
            "out": str(self.out),
            "kind": self.kind,
            "engine": self.engine,
            "done": self.is_done,
            "counts": self.counts,
            "inputs": self.inputs,
            "left": self.left,
            "parts": [_part_data(part) for part in self.parts],
            "last": _part_data(self.last),
            "result": dict(self.result),
            "failures": [{"id": f.id, "path": f.path, "stage": f.stage, "error": f.error} for f in self.failures],
        }


def read_submission(out: Path | str) -> Submission:
    """Look at how far everything is that was submitted for an output.

    >>> submission = est.submit_extract("videos", "shards.zarr", est.ExtractConfig(weights="synface"), shards=2, engine="debug")
    >>> est.read_submission("shards.zarr").counts
    {'done': 2}
    """
    place = Place(Path(out))
    manifest, queue = read_manifest(place), read_queue(place)
    waits = waiting(queue)
    if writer_of(place.starter) is not None:  # it starts one part after the other, then the last step
        unbegun = (n for n in (*range(manifest.parts), LAST) if not place.state(n).exists())
        waits = {**dict.fromkeys(unbegun, "PENDING"), **waits}
    last = _part(place, manifest, LAST, waits)
    state = read_state(place.state(LAST))
    result = state.result if state is not None and last.state == "done" else {}
    return Submission(
        out=place.out,
        kind=manifest.kind,
        unit=manifest.part,
        engine=queue.engine,
        parts=tuple(_part(place, manifest, number, waits) for number in range(manifest.parts)),
        last=last,
        result=result,
        failures=tuple(islice(_failures(place, manifest.parts, result), SHOWN)),
    )


def _failures(place: Place, parts: int, result: Mapping[str, Any]) -> Iterator[Failure]:
    """Yield the failures of an extraction: those of the cache, or of the shards where no clip is and so no cache."""
    if result.get("failures"):
        for path in [place.out] if result.get("kept") else [place.shard(number) for number in range(parts)]:
            with suppress(EstError):  # moved away, or removed by now
                yield from open_cache(path).failures


def _part(place: Place, manifest: Manifest, number: int, waits: Mapping[int, str]) -> Part:
    state, inputs = read_state(place.state(number)), manifest.inputs_of(number)
    known: dict[str, Any] = {"number": number, "inputs": inputs, "log": place.log(number)}
    queued = waits.get(number, "")
    held = queued if queued.startswith(HELD) else ""
    if state is None:
        return Part(**known, state=_unbegun(waits, number), error=held)
    known |= {"failed": state.failed, "attempt": state.attempt, "host": state.host, "job": state.job}
    if is_done(place, manifest, number):
        return Part(**known, state="done", left=0)
    known |= {"left": _left(place, number, state), "heartbeat": seconds_since_heartbeat(place, number)}
    if state.is_alive(place, number):
        return Part(**known, state="running")
    if number in waits:
        return Part(**known, state=_unbegun(waits, number), error=held)
    known |= {"tail": tuple(tail(place.log(number)))}
    if state.state == "stopped":
        return Part(**known, state="stopped", error=f"stopped by signal {state.signal}" if state.signal else "stopped")
    if state.is_done:
        return Part(**known, state="missing", error="what it made is gone")
    error = state.error or "its process is gone: it was killed, or its machine went down"
    return Part(**known, state="failed", error=error, remedy=state.remedy)


def _unbegun(waits: Mapping[int, str], number: int) -> Stage:
    """Say how far a part is that has not written anything: in the queue, started a moment ago, or nowhere."""
    return "missing" if number not in waits else "running" if waits[number] in ("RUNNING", "COMPLETING") else "queued"


def _left(place: Place, number: int, state: State) -> int | None:
    """Return how many inputs are left: by the cache's own record, which holds after a kill, or by the last heartbeat."""
    if state.state == "running" and state.left is not None:
        return state.left
    try:
        extraction = open_snapshot(place.shard(number)).manifest.extraction
    except (EstError, OSError):  # none is begun
        return state.left
    return state.left if extraction is None else extraction.left


def _part_data(part: Part) -> dict[str, Any]:
    return {
        **asdict(part),
        "log": str(part.log),
        "tail": list(part.tail),
        "heartbeat": part.heartbeat and round(part.heartbeat, 1),
    }
