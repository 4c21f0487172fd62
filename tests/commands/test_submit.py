"""`est submit` on the command line: what it prints, what it ends with, and that every option of est extract arrives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess

import pytest
import typer
from cluster_samples import CONFIG, make_files, planned, use_fakes

from est.cache.stores.lock import WriterLock
from est.cli import app
from est.cluster.parts import read_manifest, run_part
from est.cluster.place import Place, write_json
from est.cluster.slurm.options import SlurmOptions
from est.cluster.slurm.queue import Queue, read_queue, write_queue
from est.cluster.state import State, asdict
from est.cluster.status import read_submission

ROOT = typer.main.get_command(app)
OPTIONS = ["--weights", "random", "--size", "64", "--precision", "fp32", "--device", "cpu", "--workers", "1"]
NOT_OF_SHARDS = {"--from", "--views", "--shard", "--retry-failed", "--compare-detectors", "--list-datasets", "--engine"}


def options_of(*path):
    found = ROOT
    for word in path:
        found = found.commands[word]
    return {name for one in found.params for name in one.opts if name.startswith("--")}


def test_every_option_of_the_work_itself_is_there():
    assert options_of("extract") - options_of("submit", "extract") == NOT_OF_SHARDS - {"--engine"}
    assert options_of("sweep") <= options_of("submit", "sweep")
    assert "--encoder-engine" in options_of("extract") & options_of("submit", "extract")


def test_shards_are_extracted_and_shown(est, tmp_path, monkeypatch):
    use_fakes(monkeypatch)
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path / "videos")
    words = ["submit", "extract", "videos", "--out", "cache.zarr", "--shards", "2", "--engine", "debug", *OPTIONS]
    status, out, _ = est(*words)
    assert status == 0
    assert out.splitlines()[0] == f"{tmp_path}/cache.zarr: 2 shards: 2 done; 6/6 inputs"
    assert read_manifest(Place(tmp_path / "cache.zarr")).config == CONFIG
    status, out, _ = est("submit", "status", "cache.zarr", "--json")
    told = json.loads(out)
    assert (status, told["done"], told["counts"], told["result"]["clips"]) == (0, True, {"done": 2}, 6)
    assert est(*words)[0] == 0, "nothing is left to do"


def test_parts_by_hand(est, tmp_path, monkeypatch):
    use_fakes(monkeypatch)
    place = planned(tmp_path, shards=2)
    status, out, _ = est("submit", "work", place.out, "--part", "1")
    assert (status, out) == (0, "done: 2 clips, 0 failures\n")
    status, _, err = est("submit", "merge", place.out)
    assert status == 1
    assert f"try: est submit retry {place.out}" in err
    (tmp_path / "videos" / "0.mp4").write_bytes(b"changed")
    assert est("submit", "work", place.out, "--part", "0")[0] == 0
    assert est("submit", "merge", place.out, "--keep-shards")[:2] == (0, "done: 5 clips, 1 failure\n")
    assert est("submit", "work", place.out, "--part", "7")[0] == 2
    assert est("submit", "cancel", place.out)[:2] == (0, "nothing was queued or running\n")
    status, _, err = est("submit", "retry", place.out)
    assert status == 2, "the parts were done by hand: of no engine is known that it should do more"
    assert f"try: est submit retry {place.out} --engine slurm; or --engine local" in err
    status, out, _ = est("submit", "retry", place.out, "--engine", "local")
    assert status == 3, "an input failed"
    assert "est cache ls" in out
    assert "failed 0: " in out
    assert "it has changed since it was submitted" in out
    shutil.rmtree(place.folder)
    status, _, err = est("submit", "status", place.out)
    assert status == 2
    assert "has no parts" in err
    assert f"try: est cache info {place.out}" in err


def test_a_part_that_failed_is_shown_with_the_end_of_its_log(est, tmp_path, monkeypatch):
    use_fakes(monkeypatch)
    place = planned(tmp_path)
    run_part(place, 0)
    write_json(place.state(1), asdict(State(state="failed", attempt=2, error="no GPU is here", left=2)))
    place.log(1).write_text("loading\nno CUDA device\n")
    status, out, _ = est("submit", "status", place.out)
    lines = out.splitlines()
    write_json(place.state(2), asdict(State(state="running", host="elsewhere")))
    assert est("submit", "status", place.out)[1].endswith(f"next: wait, or est submit retry {place.out}\n")
    assert status == 0
    assert lines[0].endswith("3 shards: 1 done, 1 failed, 1 missing; 3/6 inputs")
    assert lines[2].split()[:4] == ["0001", "failed", "0/2", "2"]
    assert lines[2].endswith("no GPU is here")
    assert lines[-3:] == ["  loading", "  no CUDA device", f"next: est submit retry {place.out}"]


def test_parts_that_wait_for_the_process_that_starts_them(est, tmp_path, monkeypatch):
    """They are queued; a retry would be refused, and cancelling stops that process also between two parts."""
    use_fakes(monkeypatch)
    place, killed = planned(tmp_path), []
    run_part(place, 0)
    write_queue(place, Queue(engine="local"))
    starter = WriterLock(place.starter)
    starter.acquire()
    out = est("submit", "status", place.out)[1]
    assert out.splitlines()[0].endswith("3 shards: 1 done, 2 queued; 3/6 inputs")
    assert out.splitlines()[-1].startswith(f"est submit status {place.out} shows how far it is; est submit cancel")
    write_json(place.state(1), asdict(State(state="failed", error="no")))
    out = est("submit", "status", place.out)[1]
    assert f"{place.log(1)} is empty" in out
    assert out.splitlines()[-1] == f"next: once the others have ended, est submit retry {place.out}"
    assert out.splitlines()[2].split()[:3] == ["0001", "failed", "?/2"]
    status, _, err = est("submit", "retry", place.out)
    assert status == 1
    assert f"The work on {place.out} is under way already, by process {os.getpid()}" in err
    assert "cause" not in err
    monkeypatch.setattr("est.cluster.local.os.kill", lambda *words: killed.append(words))
    told = est("submit", "cancel", place.out)[1]
    starter.release()
    assert (told, killed) == ("stopped: the process that starts the parts\n", [(os.getpid(), signal.SIGTERM)])


def test_a_retry_keeps_the_options_of_then(est, tmp_path, monkeypatch):
    place, asked = planned(tmp_path), []

    def retry(out, **settings):
        asked.append((settings["engine"], settings["max_parallel"], settings["slurm"]))
        return read_submission(out)

    monkeypatch.setattr("est.cluster.submitting.retry", retry)
    write_queue(place, Queue(engine="local", options=SlurmOptions(max_parallel=2, mem="8G", more={"qos": "long"})))
    est("submit", "retry", place.out)
    est("submit", "retry", place.out, "--max-parallel", "3", "--mem", "16G")
    est("submit", "retry", place.out, "--engine", "debug", "--slurm", "qos=short")
    assert [(engine, number, options.mem, dict(options.more)) for engine, number, options in asked] == [
        (None, 2, "8G", {"qos": "long"}),
        (None, 3, "16G", {"qos": "long"}),
        ("debug", None, "8G", {"qos": "short"}),
    ]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--engine", "local", "--time", "5"], "--time is an option of Slurm, and --engine local is asked for."),
        (["--engine", "debug", "--gpus", "1", "--slurm", "qos=a"], "--gpus, --slurm are options of Slurm"),
        (["--detectr", "none"], "--detector"),
        (["--size", "9999"], "--size goes from 32 to 1024"),
        (["--shards", "0", "--engine", "debug"], "--shards"),
        (["--print", "--time", "soon"], "--time is minutes"),
        (["--print", "--engine", "local"], "--print prints scripts for Slurm"),
    ],
)
def test_wrong_lines_write_nothing(est, tmp_path, monkeypatch, words, expected):
    use_fakes(monkeypatch)
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path / "videos", 1)
    status, _, err = est("submit", "extract", "videos", "--out", "cache.zarr", "--weights", "random", *words)
    assert status == 2
    assert expected in err
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]


def test_the_scripts(est, tmp_path, monkeypatch):
    """Shell that parses, with what was asked of Slurm; nothing is submitted."""
    use_fakes(monkeypatch)
    monkeypatch.chdir(tmp_path)
    make_files(tmp_path / "videos")
    words = [
        "--gpus",
        "1",
        "--mem",
        "8G",
        "--time",
        "2:00:00",
        "--max-parallel",
        "2",
        "--slurm",
        "qos=long",
        "--keep-shards",
    ]
    status, out, _ = est(
        "submit", "extract", "videos", "--out", "a b.zarr", "--shards", "3", "--print", *words, *OPTIONS
    )
    assert status == 0
    subprocess.run(["bash", "-n"], input=out, text=True, check=True)
    part, last = out.split("<<'LAST'")
    assert "#SBATCH --array=0-2%2\n" in part
    for line in ("--time=2:00:00", "--gpus-per-node=1", "--mem=8G", "--qos=long", "--signal=USR2@120"):
        assert f"#SBATCH {line}\n" in part
    assert f"submit work '{tmp_path}/a b.zarr' --part" in part
    assert "gpus" not in last
    assert "#SBATCH --cpus-per-task=2\n" in last
    assert f"submit merge '{tmp_path}/a b.zarr' --keep-shards" in last
    assert read_queue(Place(tmp_path / "a b.zarr")).jobs == {}
