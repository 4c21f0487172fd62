"""Submissions whose shards cost nothing: in place of an extraction a shard writes made-up clips, or waits for a signal."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from cache_samples import make_clip, sample_recipes

from est.cache import CacheWriter
from est.cache.interrupt import listening
from est.cache.stores.manifest import Extraction
from est.cluster import local
from est.cluster.manifest import ExtractManifest, plan, write
from est.cluster.place import Place
from est.cluster.slurm.jobs import PartJob
from est.cluster.state import Ended
from est.extract.config import ExtractConfig
from est.extract.workers.clip_worker import STOPPING
from est.inputs.input import find_inputs

CONFIG = ExtractConfig(weights="random", size=64, precision="fp32", device="cpu", workers=1)
FAKE = "EST_TEST_WORK"  # what processes do in place of extracting


def make_files(folder: Path, number: int = 6) -> Path:
    """Write files that pass for videos, the later the larger."""
    folder.mkdir()
    for index in range(number):
        (folder / f"{index}.mp4").write_bytes(b"\0" * 100 * (index + 1))
    return folder


def planned(folder: Path, shards: int = 3, *, files: int = 6, suffix: str = ".zarr") -> Place:
    """Write the manifest of such files."""
    place = Place(folder / f"cache{suffix}")
    write(place, *plan(find_inputs([make_files(folder / "videos", files)]), CONFIG, shards))
    return place


def fake_shard(place: Place, manifest: ExtractManifest, number: int, workers, watch, **recipe) -> Ended:
    """Write a clip for each input of a shard; those that have changed fail."""
    found = manifest.found(place, number)
    with CacheWriter.open(place.shard(number), sample_recipes(**recipe)) as writer:
        writer.begin(Extraction(inputs=len(found.inputs) + len(found.problems), left=len(found.inputs)))
        for problem in found.problems:
            writer.fail(problem)
        for one in found.inputs:
            writer.one_less()
            index = int(one.id)
            rng = np.random.default_rng(index)
            writer.add(make_clip(index, id=one.id, path=str(one.path), rng=rng))
    return Ended(failed=len(found.problems), result={"clips": len(found.inputs), "failures": len(found.problems)})


def waiting_shard(place: Place, manifest: ExtractManifest, number: int, workers, watch) -> Ended:
    """Wait for a signal in the first two attempts, as an extraction that is stopped in the middle."""
    attempts = place.folder / f"attempts-{number}"
    before = attempts.read_text().split() if attempts.exists() else []
    with listening(STOPPING) as stop:
        attempts.write_text(" ".join([*before, str(os.getpid())]))
        until = time.monotonic() + 60
        while len(before) < 2 and not stop.wanted and time.monotonic() < until:
            time.sleep(0.02)
    return Ended(left=1, signal=stop.signal) if stop.wanted else fake_shard(place, manifest, number, workers, watch)


def hanging_shard(place: Place, manifest: ExtractManifest, number: int, workers, watch) -> Ended:
    """Hang, as long as a file says so."""
    (place.folder / f"begun-{number}").touch()
    until = time.monotonic() + 60
    while (place.folder / "hang").exists() and time.monotonic() < until:
        time.sleep(0.02)
    return fake_shard(place, manifest, number, workers, watch)


WORK = {"waiting": waiting_shard, "hanging": hanging_shard, "": fake_shard}


def work_as_told() -> None:
    """Let this process do what the environment says in place of extracting."""
    name = os.environ.get(FAKE, "")
    ExtractManifest.work = lambda manifest, place, number, *, workers, watch: WORK[name](
        place, manifest, number, workers, watch
    )


class FakeJob(PartJob):
    """A job of submitit that does so."""

    def __call__(self) -> str:
        work_as_told()
        return super().__call__()


def start_fake(place: Place, number: int, workers, gpu):
    """Start a process that does one part, as `local` does."""
    script = "from cluster_samples import *; import sys\nfrom est.cluster.parts import run_part\nwork_as_told()\n"
    script += f"run_part(Place(Path({str(place.out)!r})), {number})"
    with open(place.log(number), "ab") as log:
        return subprocess.Popen([sys.executable, "-c", script], stdout=log, stderr=log)


def use_fakes(monkeypatch, name: str = "") -> None:
    """Let this process, and those that it starts, do something else than extract."""
    from est.cluster import possible  # here: the processes that are started need no torch

    monkeypatch.setenv(FAKE, name)
    monkeypatch.setenv("EST_HEARTBEAT", "0.05")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.setattr(ExtractManifest, "work", ExtractManifest.work)  # is put back
    monkeypatch.setattr(local, "_start", start_fake)
    monkeypatch.setattr(possible, "load_weights", functools.cache(possible.load_weights))
    monkeypatch.setattr(local, "STEP", 0.02)
    work_as_told()


def videos(place):
    """Return the folder of the videos of a submission that was planned here."""
    return place.out.parent / "videos"
