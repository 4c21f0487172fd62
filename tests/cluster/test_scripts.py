"""What sbatch and a shell read: nothing that is typed begins a command, and est's own options stay."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from cluster_samples import planned

from est.cluster.parts import read_manifest
from est.cluster.place import LAST, Place
from est.cluster.slurm import arrays
from est.cluster.slurm.options import SlurmOptions, read_more
from est.cluster.slurm.queue import Queue
from est.cluster.slurm.script import sbatch_script
from est.errors import UsageError

STUB = 'sbatch() { cat >> "$HEARD"; printf "\\n%s\\n" "$*" >> "$HEARD"; echo 42; }\n'


def script_for(place, *more):
    manifest = SimpleNamespace(parts=2, part="shard", last_computes=False)
    return sbatch_script(place, manifest, SlurmOptions(more=read_more(list(more))), keep_shards=False)


def test_a_path_in_a_script_is_no_command(tmp_path):
    place = Place(tmp_path / "a $(touch stolen); `touch stolen` %j.zarr")
    heard = tmp_path / "heard"
    done = subprocess.run(
        ["bash", "-c", STUB + script_for(place)],
        cwd=tmp_path,
        env={"HEARD": str(heard), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert not (tmp_path / "stolen").exists()
    assert done.stdout.splitlines()[-1] == f"submitted; est submit status '{place.out}' shows how far it is"
    lines = heard.read_text().splitlines()
    names = [line.partition("=")[2] for line in lines if "--job-name" in line]
    assert names == ["est-a_touch_stolen_touch_stolen_j", "est-a_touch_stolen_touch_stolen_j-last"]
    outputs = [line for line in lines if "--output" in line]
    assert [re.findall(r"%+\w*", line) for line in outputs] == [["%%j", "%4a"], ["%%j"]]


def test_control_characters_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--out has a control character: '.*a\\nb"):
        script_for(Place(tmp_path / "a\nb.zarr"))
    with pytest.raises(UsageError, match="An option of Slurm has a control character"):
        SlurmOptions(account="me\ntouch stolen")


@pytest.mark.parametrize(
    ("word", "message", "remedy"),
    [
        ("signal=USR1@5", "est sets --signal of sbatch itself", "leave out --slurm signal; --print"),
        ("output=/tmp/x", "est sets --output of sbatch itself", "leave out --slurm output;"),
        ("job_name=mine", "est sets --job-name of sbatch itself", "leave out --slurm job-name;"),
        ("--quiet", "est sets --quiet of sbatch itself", "leave out --slurm quiet;"),
        ("array=0-1", "--slurm array has an option of its own", "--shards and --max-parallel"),
        ("time=5", "--slurm time has an option of its own", "--time"),
        ("--mem=16G", "--slurm mem has an option of its own", "--mem"),
        ("cpus_per_task=4", "--slurm cpus-per-task has an option of its own", "--cpus"),
        ("requeue", "--slurm requeue has an option of its own", "--requeues"),
        ("sig=USR1@5", "est sets --signal of sbatch itself", "leave out --slurm signal;"),
        ("tim=5", "found 'tim', the beginning of time, time-min", "--time"),
        ("cpus=4", "found 'cpus', the beginning of cpus-per-task, cpus-per-gpu", "--cpus"),
        ("mem_per=2G", "found 'mem-per', the beginning of mem-per-cpu, mem-per-gpu", "--slurm mem-per-cpu=2G"),
        ("depend=afterok:1?afterok:2", "the beginning of dependency", "--slurm dependency=afterok:1?afterok:2"),
        ("-p=gpu", "found 'p', the beginning of partition, parsable, power and 4 more", "--partition"),
        ("J=mine", "by its long name, as KEY=VALUE, found 'J=mine'", "--slurm qos=long"),
        ("mem_per_cpu=4", "--slurm mem-per-cpu=4 is 4 MB to sbatch", "--slurm mem-per-cpu=4G"),
        ("nodes=2", "A job is one process on one machine, found --slurm nodes=2", "--shards N"),
        ("ntasks-per-node=4", "found --slurm ntasks-per-node=4", "--shards N"),
        ("clusters=other", "the cluster that this machine belongs to alone", "leave it out"),
        ("dependency=afterok:1?afterok:2", "? of a dependency", "--slurm dependency=afterok:1,afterok:2"),
    ],
)
def test_options_that_est_sets_are_refused_in_every_spelling_that_sbatch_takes(word, message, remedy):
    with pytest.raises(UsageError) as refused:
        SlurmOptions(more=read_more([word]))
    assert message in refused.value.message
    assert refused.value.remedy.startswith(remedy)


def test_options_are_passed_on_by_the_names_that_sbatch_has(tmp_path):
    words = ["mem_per_cpu=2G", "--exclusive", "nodes=1", "gpus_per_node=a100:1", "gpu-bind=closest", "plugin-of-here=x"]
    part, last = script_for(Place(tmp_path / "c.zarr"), *words).split("<<'LAST'")
    lines = {line.removeprefix("#SBATCH --") for line in part.splitlines()}
    assert {"mem-per-cpu=2G", "exclusive", "nodes=1", "gpus-per-node=a100:1", "plugin-of-here=x"} <= lines
    assert "mem-per-cpu=2G" in last
    assert "gpu" not in last, "it computes nothing"
    with pytest.raises(UsageError, match="--gpus 2 and --slurm gpus-per-node=1 ask for the same"):
        SlurmOptions(gpus=2, more={"gpus_per_node": "1"})
    with pytest.raises(UsageError, match="--slurm mem-per-cpu is 2G and 3G") as twice:
        read_more(["mem-per-cpu=2G", "mem_per_cpu=3G"])
    assert twice.value.remedy == "one of them"


def test_dependencies_are_joined(tmp_path, monkeypatch):
    place = planned(tmp_path)
    more = read_more(["dependency=afterok:777", "gres=gpu:1"])
    text = script_for(place, "dependency=afterok:777", "gres=gpu:1")
    part, last = text.split("sbatch --dependency=")
    assert "#SBATCH --dependency=afterok:777" in part
    assert "#SBATCH --gres=gpu:1" in part
    assert last.startswith('afterok:"$array",afterok:777 --kill-on-invalid-dep=yes')
    assert "#SBATCH --dependency" not in last
    assert "gres" not in last

    asked = []

    class Executor:
        def update_parameters(self, **parameters):
            asked.append(parameters)

        def submit_array(self, jobs):
            return [SimpleNamespace(job_id=f"42_{number}") for number in range(len(jobs))]

        def submit(self, job):
            return SimpleNamespace(job_id="43")

    monkeypatch.setitem(sys.modules, "submitit", SimpleNamespace(SlurmExecutor=lambda **_: Executor()))
    monkeypatch.setattr(arrays, "_submit", lambda submit: submit())
    queue = Queue(options=SlurmOptions(more=more))
    queue = arrays.submit_slurm(place, read_manifest(place), queue, [0, 1, 2], {})
    assert queue.jobs == {0: "42_0", 1: "42_1", 2: "42_2", LAST: "43"}
    assert [one["dependency"] for one in asked] == ["afterok:777", "afterok:42,afterok:777"]
    assert all("dependency" not in one["additional_parameters"] for one in asked)
    assert ["gres" in one["additional_parameters"] for one in asked] == [True, False]
