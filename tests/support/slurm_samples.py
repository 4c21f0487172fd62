"""A Slurm on this machine for tests, clips for it, and waiting for what it does.

Needs root and Debian's packages slurm-wlm and munge; slurm_node.sh starts the daemons.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import pytest
from cluster_samples import CONFIG
from extract_samples import face_frames
from video_samples import make_video

from est.cluster.status import read_submission
from est.extract.extraction import extract_videos

NODES = Path(__file__).with_name("slurm_node.sh")
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

MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(LACKING), reason=f"no Slurm here: apt-get install slurm-wlm munge brings {', '.join(LACKING)}"
    ),
    pytest.mark.skipif(os.geteuid() != 0, reason="the daemons of Slurm are started as root"),
]


@contextlib.contextmanager
def slurm(folder: Path, nodes: int = 1) -> Generator[Path]:
    """Start a Slurm of so many nodes, whose commands are those of this process meanwhile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
        patch.setenv("PATH", f"{os.environ['PATH']}:/usr/sbin")
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        patch.setenv("EST_HEARTBEAT", "0.1")
        patch.setenv("EST_SLURM_PORT", str(20000 + os.getpid() % 20000))
        try:
            subprocess.run(["bash", NODES, "start", folder, str(nodes)], check=True, capture_output=True, timeout=120)
            yield folder
        finally:
            subprocess.run(["bash", NODES, "stop", folder], check=True, capture_output=True, timeout=120)


def make_clips(folder: Path, number: int = 6) -> Path:
    """Make clips of 120 frames in `videos`, and what one extraction makes of them, `one.zarr`."""
    (folder / "videos").mkdir()
    first = make_video(folder / "videos" / "0.mp4", face_frames(40) * 3).read_bytes()
    for index in range(1, number):
        (folder / "videos" / f"{index}.mp4").write_bytes(first)
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
