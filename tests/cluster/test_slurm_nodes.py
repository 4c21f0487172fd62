"""A real Slurm of three nodes, three slurmd on this machine: shards on different nodes, and nodes that are lost."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from extract_samples import assert_same
from slurm_samples import MARKS, OPTIONS, begin_at_once, make_clips, slurm, submit, wait_for

from est.cluster.place import Place

pytestmark = MARKS


@pytest.fixture(scope="module")
def nodes(tmp_path_factory):
    with slurm(tmp_path_factory.mktemp("slurm"), 3) as folder:
        yield folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    return make_clips(tmp_path_factory.mktemp("videos"), 12)


def ask(*words):
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()


def begun(place, node):
    """Submit three shards, each of which gets a node of its own, and wait until that of one node extracts; return its job."""
    words = ["extract", "videos", "--out", place.out.name, "--shards", "3", "--time", "30", "--slurm", "exclusive"]
    submit(place.out.parent, *words, *OPTIONS)
    until = time.monotonic() + 60
    while len(jobs := given(place)) < 3 and time.monotonic() < until:
        time.sleep(0.2)
    assert sorted(jobs) == ["node1", "node2", "node3"]
    wait_for(place, lambda found: any(part.job == jobs[node] and part.left for part in found.parts))
    return jobs[node]


def given(place):
    """Return the job that each node was given, also where it has ended by now."""
    asked = ask("squeue", "--noheader", "--states=all", f"--name={place.job_name}-part", "--format=%N=%i")
    return {node: job for node, _, job in (one.partition("=") for one in asked) if node}


def attempts(place):
    """Wait for the merge, which waits for all shards; return how often each was begun."""
    done = wait_for(place, lambda found: found.is_done)
    assert_same(place.out.parent / "one.zarr", place.out)
    return [part.attempt for part in done.parts]


def processes(node, job):
    """Return the processes of a node's job: its daemons, which name it, and what they started, in whose environment the node is."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            is_daemon = (process / "cmdline").read_bytes().startswith(f"slurmstepd: [{job}.".encode())
            if is_daemon or f"SLURMD_NODENAME={node}\0".encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def number(node):
    """Return Slurm's number of the job on a node."""
    (job,) = ask("squeue", "--noheader", f"--nodelist={node}", "--format=%A")
    return job


def lose(folder, node):
    """Let a node go as without power: its daemon, the daemons of its jobs, and their processes, all at once."""
    found = [int((folder / "run" / f"slurmd.{node}.pid").read_text()), *processes(node, number(node))]
    for one in found:
        os.kill(one, signal.SIGSTOP)  # none says that another one has ended
    for one in found:
        os.kill(one, signal.SIGKILL)


def test_a_node_that_its_administrator_takes(nodes, videos):
    place = Place(videos / "taken.zarr")
    job = begun(place, "node2")
    known = number("node2")
    subprocess.run(["scontrol", "update", "nodename=node2", "state=down", "reason=test"], check=True)
    until = time.monotonic() + 120
    while processes("node2", known) and time.monotonic() < until:
        time.sleep(0.5)
    begin_at_once(job)  # not before: a node does not take a job that it is still ending
    assert sorted(attempts(place)) == [1, 1, 2]


def test_a_node_that_loses_its_power(nodes, videos):
    place = Place(videos / "lost.zarr")
    job = begun(place, "node3")
    lose(nodes, "node3")
    begin_at_once(job)
    assert sorted(attempts(place)) == [1, 1, 2]
    assert "down*" in ask("sinfo", "--noheader", "--nodes=node3", "--format=%T")
