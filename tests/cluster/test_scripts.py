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


def test_options_that_est_sets_are_refused():
    for word in ("array=0-1", "signal=USR1@5", "output=/tmp/x", "job-name=mine"):
        with pytest.raises(UsageError, match="est sets --") as refused:
            SlurmOptions(more=read_more([word]))
        assert refused.value.remedy.startswith(f"leave out --slurm {word.partition('=')[0]};")
    with pytest.raises(UsageError, match=r"\? of a dependency"):
        SlurmOptions(more={"dependency": "afterok:1?afterok:2"})


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
