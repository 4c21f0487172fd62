"""A real Slurm of one node: an array, preemption, a machine that goes down, a job that fails, scripts for sbatch, a sweep."""

from __future__ import annotations

import contextlib
import json
import subprocess

import pytest
from extract_samples import assert_same
from slurm_samples import MARKS, OPTIONS, begin_at_once, extracting, make_clips, slurm, submit, wait_for
from swept import arguments, folded_cache, space_file

from est.cache import open_cache
from est.cluster.place import Place
from est.cluster.state import read_state

pytestmark = MARKS


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with slurm(tmp_path_factory.mktemp("slurm")) as folder:
        yield folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("videos"))


def warn(job):
    """Send the signal that Slurm sends; scancel repeats it for a minute where the job has left the node by then."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(["scancel", "--signal=USR2", job], check=False, timeout=2)


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
