"""What is refused, what is kept and what is told of a submission; its shards cost nothing here."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from cluster_samples import CONFIG, FakeJob, fake_shard, make_files, planned, use_fakes, videos

from est.cache import open_cache
from est.cache.watch import Watch
from est.cluster.extracting import extract_shard
from est.cluster.manifest import read_inputs
from est.cluster.parts import read_manifest, run_part
from est.cluster.place import LAST, write_json
from est.cluster.slurm import queue as queues
from est.cluster.slurm.arrays import _submit, expect_slurm
from est.cluster.slurm.options import SlurmOptions, read_more
from est.cluster.slurm.queue import Queue, write_queue
from est.cluster.state import State, asdict, read_state
from est.cluster.status import read_submission
from est.cluster.submitting import _failed, cancel, expect_engine, retry, submit_extract
from est.commands.submitting.submissionpage import page
from est.errors import CacheLocked, EstError, NoLocks, RecipeMismatch, UsageError
from est.inputs.input import failure_at


def again(place, **changes):
    return submit_extract(videos(place), place.out, replace(CONFIG, **changes), engine="debug")


def test_the_manifest_holds_what_was_there(place):
    manifest = read_manifest(place)
    ids = [[one.id for one, _ in read_inputs(place, manifest, number)] for number in range(3)]
    assert ids == [["0", "1", "2"], ["3", "4"], ["5"]], "of 600, 900 and 600 bytes"
    (videos(place) / "00.mp4").write_bytes(b"new")
    shutil.rmtree(place.folder / "inputs", ignore_errors=False)
    with pytest.raises(EstError, match=r"is not what manifest\.json says"):
        run_part(place, 0)


def test_a_changed_folder_shifts_nothing(place):
    run_part(place, 0)
    (videos(place) / "00.mp4").write_bytes(b"new")
    (videos(place) / "3.mp4").write_bytes(b"changed")
    (videos(place) / "5.mp4").unlink()
    with pytest.raises(UsageError, match=r"1 input is new \(00\); 1 input is gone \(5\)") as refused:
        again(place)
    assert f"est submit retry {place.out}" in refused.value.remedy
    submission = retry(place.out, engine="debug")
    assert submission.result["failures"] == 2
    merged = open_cache(place.out)
    assert merged.ids == ["0", "1", "2", "4"]
    assert {failure.id: failure.error for failure in merged.failures} == {
        "3": "it has changed since it was submitted: it had 400 bytes, and has 7",
        "5": "it cannot be read any more: No such file or directory",
    }


def test_other_settings_are_refused_and_some_may_change(place):
    with pytest.raises(UsageError, match="has size 64, you asked for 96"):
        again(place, size=96)
    with pytest.raises(UsageError, match="in 3 shards, you asked for 2"):
        submit_extract(videos(place), place.out, CONFIG, shards=2, engine="debug")
    assert again(place, workers=2).is_done
    assert read_manifest(place).config.workers == 2


def test_a_cache_that_is_there_is_not_touched(tmp_path, monkeypatch):
    use_fakes(monkeypatch)
    place = planned(tmp_path)
    submit_extract(videos(place), place.out, CONFIG, engine="debug")
    shutil.rmtree(place.folder)
    with pytest.raises(UsageError, match="exists already"):
        again(place)
    assert not place.folder.exists()


def test_shards_that_are_missing_half_there_or_made_otherwise(place):
    with pytest.raises(EstError, match=r"3 shards are not ready to be merged: shard 0: it has not begun"):
        run_part(place, LAST)
    for number in range(3):
        run_part(place, number)
    shutil.rmtree(place.shard(1))
    with pytest.raises(EstError, match=r"shard 1: .* is gone"):
        run_part(place, LAST)
    assert read_submission(place.out).counts == {"done": 2, "missing": 1}
    manifest = read_manifest(place)
    fake_shard(place, replace(manifest, shards=manifest.shards), 1, None, None, size=96)
    with pytest.raises(RecipeMismatch, match="Shards 0 and 1 were made in other ways: size: 224 here, 96 there"):
        run_part(place, LAST)
    shutil.rmtree(place.shard(1))
    shutil.copytree(place.shard(2), place.shard(1))
    with pytest.raises(EstError, match=r"shard 1: 2 inputs are neither a clip nor a failure \(3, 4\)"):
        run_part(place, LAST)
    assert not place.out.exists()


def test_a_merge_that_was_killed_after_the_cache_had_its_name(place):
    for number in range(3):
        run_part(place, number)
    run_part(place, LAST, keep_shards=True)
    assert place.shard(0).exists()
    before = open_cache(place.out).commit_id
    write_json(place.state(LAST), asdict(State(state="running")))
    assert read_submission(place.out).last.state == "failed"
    assert retry(place.out, engine="debug").is_done
    assert not place.shard(0).exists()
    assert open_cache(place.out).commit_id == before


def test_one_process_works_on_a_shard(tmp_path, monkeypatch):
    use_fakes(monkeypatch, "hanging")
    place = planned(tmp_path)
    (place.folder / "hang").touch()
    thread = threading.Thread(target=run_part, args=(place, 0))
    thread.start()
    try:
        while not (place.folder / "begun-0").exists():
            time.sleep(0.01)
        assert read_submission(place.out).counts == {"running": 1, "missing": 2}
        with pytest.raises(CacheLocked, match=r"Shard 0 of .* is under way already, by process"):
            run_part(place, 0)
    finally:
        (place.folder / "hang").unlink()
        thread.join()
    assert read_state(place.state(0)).is_done


def test_a_file_system_without_locks(tmp_path, monkeypatch):
    """It is named: nothing is there to wait for."""
    place = planned(tmp_path)
    monkeypatch.setattr(
        fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSYS, "Function not implemented"))
    )
    with pytest.raises(NoLocks, match=r"The file system of .* has no working locks") as refused:
        run_part(place, 0)
    assert refused.value.remedy.startswith("write to a local disk")


def test_processes_that_are_killed(tmp_path, monkeypatch):
    """One by SIGKILL, while another goes on without the call that started it; the next call waits for that one."""
    use_fakes(monkeypatch, "hanging")
    place = planned(tmp_path)
    (place.folder / "hang").touch()

    def kill_one_and_stop_waiting():
        until = time.monotonic() + 30
        while time.monotonic() < until:
            states = [read_state(place.state(number)) for number in (0, 1)]
            if all(one is not None and one.is_alive(place, number) for number, one in enumerate(states)):
                break
            time.sleep(0.02)
        os.kill(states[0].pid, signal.SIGKILL)
        time.sleep(0.1)
        (place.folder / "hang").unlink()

    thread = threading.Thread(target=kill_one_and_stop_waiting)
    thread.start()
    with pytest.raises(EstError, match=r"1 shard of 3 failed: shard 0: its process was ended by SIGKILL") as failed:
        submit_extract(videos(place), place.out, CONFIG, engine="local", max_parallel=2)
    thread.join()
    assert f"est submit retry {place.out}" in failed.value.remedy
    assert read_submission(place.out).counts == {"done": 2, "failed": 1}
    submission = retry(place.out)
    assert (submission.engine, submission.is_done) == ("local", True)
    assert open_cache(place.out).ids == list("012345")
    assert cancel(place.out) == []


def test_a_job_of_submitit_that_is_preempted_twice(tmp_path, monkeypatch):
    submitit = pytest.importorskip("submitit")
    use_fakes(monkeypatch, "waiting")
    place = planned(tmp_path, shards=1)
    executor = submitit.LocalExecutor(place.slurm)
    job, early = executor.submit(FakeJob(place.out, 0)), executor.submit(FakeJob(place.out, LAST))
    assert "1 shard is not ready to be merged" in str(early.exception())
    log = place.log(LAST).read_text()
    assert log.startswith("Traceback") or "\nTraceback" in log
    assert "1 shard is not ready to be merged" in log
    attempts = place.folder / "attempts-0"
    for preempted in range(2):
        until = time.monotonic() + 60
        while time.monotonic() < until and (not attempts.exists() or len(attempts.read_text().split()) <= preempted):
            time.sleep(0.02)
        os.kill(int(attempts.read_text().split()[preempted]), signal.SIGUSR2)
    assert job.result() == "done", job.stderr()
    state = read_state(place.state(0))
    assert (state.is_done, state.attempt) == (True, 3)
    assert run_part(place, LAST).is_done
    assert open_cache(place.out).ids == list("012345")


def test_what_slurm_says_of_jobs(place, monkeypatch):
    run_part(place, 0)
    write_json(place.state(1), asdict(State(state="running", host="elsewhere", heartbeat=time.time() + 7200)))
    os.utime(place.state(1), (0, time.time() - 400))
    place.log(1).write_text("line\nkilled: out of memory\n")
    write_queue(place, Queue(engine="slurm", jobs={0: "7_0", 1: "7_1", 2: "7_2", LAST: "8"}))
    monkeypatch.setattr(queues.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(queues, "slurm", lambda *words: "7_2|PENDING|Priority\n8|PENDING|Dependency\n9|RUNNING|None\n")
    found = read_submission(place.out)
    assert found.counts == {"done": 1, "queued": 1, "failed": 1}
    assert (found.last.state, found.open) == ("queued", [1])
    assert found.parts[1].error.startswith("its process is gone")
    assert found.parts[1].tail == ("line", "killed: out of memory")
    listed = "7_1|RUNNING|None\n7_2|PENDING|launch failed requeued held\n"
    monkeypatch.setattr(queues, "slurm", lambda *words: listed)
    found = read_submission(place.out)
    assert found.counts == {"done": 1, "running": 1, "queued": 1}
    assert found.parts[2].error == "held by Slurm: launch failed requeued held; scontrol release 7_2"
    write_json(place.state(1), asdict(State(state="running", host="elsewhere", heartbeat=time.time() - 400)))
    monkeypatch.setattr(queues, "slurm", lambda *words: "")
    assert read_submission(place.out).counts == {"done": 1, "running": 1, "missing": 1}, "by its file, not by its clock"


def test_what_is_asked_of_slurm():
    times = {"90": 90, "90:30": 91, "1:00:00": 60, "1-0": 1440, "1-2:30": 1590, "0-0:0:30": 1}
    assert {text: SlurmOptions(time=text).minutes for text in times} == times
    for text in ("", "soon", "0", "1:2:3:4"):
        with pytest.raises(UsageError, match="--time"):
            SlurmOptions(time=text)
    assert read_more(["qos=long", "--exclusive", "constraint=a100&ib"]) == {
        "qos": "long",
        "exclusive": "",
        "constraint": "a100&ib",
    }
    with pytest.raises(UsageError, match="--mem 16 is 16 MB") as small:
        SlurmOptions(mem="16")
    assert small.value.remedy == "--mem 16G"
    assert [SlurmOptions(mem=text).mem for text in ("16G", "4000", "0")] == ["16G", "4000", "0"]
    with pytest.raises(UsageError, match="--mem is a number with K, M, G or T, found"):
        SlurmOptions(mem="lots")
    with pytest.raises(UsageError, match="KEY=VALUE"):
        read_more(["long queue"])


def test_what_is_not_there_is_said_before_anything_is_written(tmp_path, monkeypatch):
    files = make_files(tmp_path / "videos", 1)
    monkeypatch.setattr("est.cluster.slurm.arrays.shutil.which", lambda name: None)
    with pytest.raises(EstError, match="there is no sbatch and no srun"):
        submit_extract(files, tmp_path / "cache.zarr", CONFIG, engine="slurm")
    monkeypatch.setattr("est.packages.importlib.util.find_spec", lambda name: None)
    with pytest.raises(EstError, match="submitit is not installed") as lacking:
        expect_slurm()
    assert "pip install 'est-fer[cluster]'" in lacking.value.remedy
    monkeypatch.undo()
    with pytest.raises(UsageError, match="--engine is slurm, local or debug, found 'pbs'"):
        expect_engine("pbs")
    with pytest.raises(UsageError, match="--features names"):
        submit_extract(files, tmp_path / "cache.zarr", replace(CONFIG, features=("gapp",)), engine="debug")
    with pytest.raises(UsageError, match="Nothing was submitted"):
        read_submission(tmp_path / "cache.zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]


def test_where_nothing_was_submitted_the_right_command_is_named(tmp_path):
    def remedy_for(name):
        with pytest.raises(UsageError) as refused:
            retry(tmp_path / name)
        return refused.value.message, refused.value.remedy

    assert remedy_for("c.zarr")[1] == f"est submit extract INPUT --out {tmp_path}/c.zarr --shards 8"
    message, remedy = remedy_for("sweeps")
    assert message.startswith(f"Nothing was submitted for {tmp_path}/sweeps")
    assert remedy.startswith(f"est submit sweep --cache CACHE --out {tmp_path}/sweeps;")
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "settings.json").write_text("{}")
    message, remedy = remedy_for("sweeps")
    assert "is a sweep of one machine" in message
    assert remedy.startswith(f"est sweep with --out {tmp_path}/sweeps")
    place = planned(tmp_path)
    message, remedy = remedy_for(place.folder.name)
    assert "is the folder of the parts" in message
    assert remedy == f"est submit status {place.out}"


def test_a_reason_ends_in_one_full_stop_and_a_sweep_counts_jobs(place):
    write_json(place.state(1), asdict(State(state="failed", error="--device cuda:3: there are 1.")))
    found = read_submission(place.out)
    assert "1: --device cuda:3: there are 1; shard 2: missing." in _failed(found).message
    assert "; 0/6 jobs" in page(replace(found, kind="sweep")).splitlines()[0]


def test_tools_of_slurm_without_a_cluster_are_told_from_a_refused_option():
    from submitit.core.utils import FailedJobError

    def refuse(reason):
        def submit():
            raise FailedJobError(reason)

        return submit

    with pytest.raises(EstError, match="sbatch refused") as nowhere:
        _submit(refuse("sbatch: error: resolve_ctls_from_dns_srv: res_nsearch error: Unknown host"))
    assert "--engine local" in nowhere.value.remedy
    with pytest.raises(EstError, match="sbatch refused") as wrong:
        _submit(refuse("sbatch: error: invalid partition specified: gpuu"))
    assert "mend the option" in wrong.value.remedy


def test_reasons_of_failed_clips_reach_the_log(tmp_path, monkeypatch):
    place = planned(tmp_path, shards=2, files=3)
    manifest = read_manifest(place)
    report = SimpleNamespace(clips=0, unchanged=0, frames=0, left=0, signal=0)
    report.failures = [failure_at(videos(place) / "0.mp4", "0", "no frame can be decoded")]
    monkeypatch.setattr("est.cluster.extracting.extract_videos", lambda *words, **more: report)
    monkeypatch.setattr("est.cluster.extracting.agreed", lambda place, number, config: config)
    told = []
    watch = Watch()
    watch.warn = told.append
    assert extract_shard(place, manifest, 0, None, watch).failed == 1
    assert told == [f"failed 0: {report.failures[0].stage}: no frame can be decoded"]


def test_a_submission_of_which_nothing_can_be_extracted(tmp_path, monkeypatch):
    use_fakes(monkeypatch)
    place = planned(tmp_path, shards=2, files=2)
    for path in videos(place).iterdir():
        path.write_bytes(b"changed")
    submission = retry(place.out, engine="debug")
    assert submission.result == {"clips": 0, "failures": 2, "kept": False}
    told = page(submission).splitlines()
    assert told[-4].startswith("failed 0: ")
    assert told[-4].endswith("it has changed since it was submitted: it had 100 bytes, and has 7")
    assert "the same est submit extract again" in told[-1]
    assert not place.out.exists()
    assert np.all([part.failed for part in submission.parts])
    shutil.rmtree(place.folder / "shards")
    assert read_submission(place.out).failures == (), "they lay in the shards"
