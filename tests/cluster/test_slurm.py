"""A real Slurm of one node: an array, preemption, a machine that goes down, a job that fails, scripts for sbatch, a sweep.

Needs root and Debian's packages slurm-wlm and munge; tests/support/slurm_node.sh starts the daemons.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_samples import CONFIG
from extract_samples import assert_same, face_frames
from swept import arguments, folded_cache, space_file
from video_samples import make_video

from est.cache import open_cache
from est.cluster.place import Place
from est.cluster.state import read_state
from est.cluster.status import read_submission
from est.extract.extraction import extract_videos

NODE = Path(__file__).parents[1] / "support" / "slurm_node.sh"
DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch", "srun")
LACKING = [name for name in DAEMONS if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin") is None]
OPTIONS = [
    "--weights",
    "random",
    "--size",
    "64",
    "--workers",
    "1",
    "--precision",
    "fp32",
    "--device",
    "cpu",
    "--cpus",
    "1",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(LACKING), reason=f"no Slurm here: apt-get install slurm-wlm munge brings {', '.join(LACKING)}"
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="the daemons of Slurm are started as root"),
]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        patch.setenv("EST_HEARTBEAT", "0.1")
        patch.setenv("EST_SLURM_PORT", str(20000 + os.getpid() % 20000))
        subprocess.run(["bash", NODE, "start", folder], check=True, capture_output=True, timeout=120)
        yield folder
        subprocess.run(["bash", NODE, "stop", folder], check=True, capture_output=True, timeout=120)


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """Six clips of 120 frames, and what one extraction makes of them."""
    folder = tmp_path_factory.mktemp("videos")
    (folder / "videos").mkdir()
    first = make_video(folder / "videos" / "0.mp4", face_frames(40) * 3).read_bytes()
    for number in range(1, 6):
        (folder / "videos" / f"{number}.mp4").write_bytes(first)
    before = Path.cwd()
    os.chdir(folder)
    extract_videos("videos", "one.zarr", replace(CONFIG, workers=2))
    os.chdir(before)
    return folder


def submit(folder, *words):
    done = subprocess.run(
        [sys.executable, "-m", "est", "submit", *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def wait_for(place, is_reached, seconds=400):
    """Wait until a submission is as far."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        submission = read_submission(place.out)
        if is_reached(submission):
            return submission
        time.sleep(0.5)
    logs = [path.read_text() for path in (*place.log(0).parent.glob("*"), *place.folder.glob("slurm/*.out"))]
    raise AssertionError("\n".join([str(submission.to_json()), *logs]))


def extracting(place, seen=None):
    """Wait for an attempt at a shard that extracts, other than those that were seen; return its number and Slurm's name for its job."""
    seen = {} if seen is None else seen

    def found(submission):
        running = [one for one in submission.parts if one.state == "running" and one.left]
        return [one for one in running if one.attempt > seen.get(one.number, 0)]

    part = found(wait_for(place, found))[0]
    seen[part.number] = part.attempt
    return part.number, part.job


def warn(job):
    """Send the signal that Slurm sends; scancel repeats it for a minute where the job has left the node by then."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(["scancel", "--signal=USR2", job], check=False, timeout=2)


def begin_at_once(job):
    """Queue a job for now that Slurm queued again for two minutes later."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        shown = subprocess.run(["scontrol", "show", "job", job], capture_output=True, text=True, check=True).stdout
        if "JobState=PENDING" in shown:
            subprocess.run(["scontrol", "update", f"jobid={job}", "StartTime=now"], check=True)
            return
        time.sleep(0.3)
    raise AssertionError(shown)


def test_an_array_that_is_preempted_and_loses_its_machine(node, videos):
    """Twice by Slurm's warning, once by a requeue as of a node that went down; the merge waits for all."""
    place = Place(videos / "cache.zarr")
    submit(videos, "extract", "videos", "--out", "cache.zarr", "--shards", "3", "--time", "30", *OPTIONS)
    seen = {}
    for _ in range(2):
        number, job = extracting(place, seen)
        warn(job)
        begin_at_once(job)
    number, job = extracting(place, seen)
    subprocess.run(["scontrol", "requeue", job], check=True)
    begin_at_once(job)
    done = wait_for(place, lambda submission: submission.is_done)
    assert done.counts == {"done": 3}
    assert sum(part.attempt for part in done.parts) == 6
    assert_same(videos / "one.zarr", place.out)
    assert read_state(place.state(number)).attempt > 1


def test_a_partition_that_preempts(node, videos):
    """A job of more importance takes the node; shards are warned, queued again, and end."""
    place = Place(videos / "urgent.zarr")
    submit(videos, "extract", "videos", "--out", "urgent.zarr", "--shards", "2", "--time", "30", *OPTIONS)
    extracting(place)
    subprocess.run(["sbatch", "--partition=urgent", "--exclusive", "--output=/dev/null", "--wrap=sleep 2"], check=True)
    preempted = wait_for(place, lambda submission: any(part.state == "queued" for part in submission.parts))
    for part in preempted.parts:
        if part.state == "queued":
            begin_at_once(part.job)
    done = wait_for(place, lambda submission: submission.is_done)
    assert sum(part.attempt for part in done.parts) > 2
    assert_same(videos / "one.zarr", place.out)


def test_a_shard_that_fails_is_retried_alone(node, videos):
    place = Place(videos / "failing.zarr")
    submit(videos, "extract", "videos", "--out", "failing.zarr", "--shards", "2", "--time", "30", *OPTIONS)
    inputs = place.inputs(1)
    inputs.rename(inputs.with_suffix(".away"))
    failed = wait_for(place, lambda found: found.counts == {"done": 1, "failed": 1} and found.last.state == "missing")
    assert "is not what manifest.json says" in failed.parts[1].error
    assert any("EstError" in line for line in failed.parts[1].tail)
    inputs.with_suffix(".away").rename(inputs)
    submit(videos, "retry", "failing.zarr")
    done = wait_for(place, lambda submission: submission.is_done)
    assert [part.attempt for part in done.parts] == [1, 2]
    assert_same(videos / "one.zarr", place.out)


def test_cancelling(node, videos):
    place = Place(videos / "cancelled.zarr")
    submit(videos, "extract", "videos", "--out", "cancelled.zarr", "--shards", "3", "--time", "30", *OPTIONS)
    extracting(place)
    told = json.loads(submit(videos, "cancel", "cancelled.zarr", "--json").splitlines()[-1])
    assert "last" in told["cancelled"]
    gone = wait_for(place, lambda found: not {"running", "queued"} & set(found.counts))
    assert gone.open
    assert not place.out.exists()


def test_the_scripts_need_no_submitit(node, videos):
    place = Place(videos / "script.zarr")
    words = ["extract", "videos", "--out", "script.zarr", "--shards", "2", "--time", "30", "--print", *OPTIONS]
    script = videos / "submit.sh"
    script.write_text(submit(videos, *words))
    subprocess.run(["bash", script], check=True, cwd=videos)
    number, job = extracting(place)
    warn(job)
    begin_at_once(job)
    done = wait_for(place, lambda submission: submission.is_done)
    assert done.parts[number].attempt > 1
    assert not place.slurm.exists()
    assert_same(videos / "one.zarr", place.out)


def test_a_sweep_by_several_jobs(node, tmp_path):
    folded_cache(tmp_path / "cache.zarr")
    words = arguments("cache.zarr", "sweep", space_file(tmp_path / "space.toml"))
    storage = f"sqlite:///{tmp_path / 'studies.db'}"
    submit(tmp_path, *words, "--jobs", "2", "--storage", storage, "--time", "30", "--cpus", "1")
    done = wait_for(Place(tmp_path / "sweep"), lambda submission: submission.is_done)
    assert done.result["trials"] == 8
    assert (tmp_path / "sweep" / "sweep.html").exists()
    assert open_cache(tmp_path / "cache.zarr").ids
