"""The parsers of the files of a submission: what `est submit status`, `retry` and `merge` read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from _list_parsers import into
from _reading import Parser
from cluster_samples import planned

from est.cache.stores.lock import WriterLock, holder_of
from est.cluster.computing import Computing, read_computation
from est.cluster.manifest import read_inputs
from est.cluster.merging import is_in_place
from est.cluster.parts import read_manifest
from est.cluster.place import LAST, Place, write_json
from est.cluster.slurm.queue import Queue, read_queue, write_queue
from est.cluster.state import State
from est.cluster.status import read_submission
from est.cluster.sweeping import SweepComputing
from est.commands.submitting.submissionpage import page
from est.errors import EstError


def submission_parsers(folder: Path) -> Iterator[Parser]:
    """Yield them, for a submission of three shards."""
    folder.mkdir(parents=True)
    place = planned(folder)
    write_queue(place, Queue(engine="local"))  # without jobs: squeue may be here
    jobs = json.dumps(asdict(Queue(engine="slurm", jobs={0: "7_0"})))
    write_json(place.state(0), asdict(State(state="running", host="elsewhere")))
    nothing = {"clips": 0, "failures": 6, "kept": False}
    write_json(place.state(LAST), asdict(State(state="done", result=nothing)))
    merged = place.folder / "merged.json"
    write_json(merged, {"clips": 6, "failures": 0, "kept": True, "commit": "0"})
    manifest = read_manifest(place)
    place.computation.parent.mkdir()
    write_json(place.computation, asdict(Computing(precision="fp32", engine="torch")))
    of_sweep = json.dumps(asdict(SweepComputing(device="cpu", threads=1, precision="fp32")))
    starter = WriterLock(place.starter)
    starter.acquire()  # a lock that nobody holds is not read
    more = {place.queue: [jobs.encode()], place.computation: [of_sweep.encode()]}
    for path, read in (
        (place.manifest, lambda _: read_submission(place.out)),
        (place.queue, lambda _: read_queue(place)),
        (place.state(0), lambda _: page(read_submission(place.out))),
        (place.state(LAST), lambda _: page(read_submission(place.out))),
        (merged, lambda _: is_in_place(place)),
        (place.inputs(0), lambda _: list(read_inputs(place, manifest, 0))),
        (place.computation, lambda _: _read_both(place)),
        (starter.path, lambda _: holder_of(place.starter)),  # est submit cancel signals who is named
    ):
        yield Parser(
            name=f"submissions: {path.relative_to(place.folder)}",
            what="`est submit`",
            samples=(path.read_bytes(), *more.get(path, [])),
            words=(b"kind", b"extract", b"sweep", b"null", b"done"),
            read=into(path, read),
            share=0.25,
        )


def _read_both(place: Place) -> object:
    """Read what an extraction, or a sweep, computes with."""
    try:
        return read_computation(place, Computing)
    except EstError:
        return read_computation(place, SweepComputing)
