"""Several processes search the same studies: no trial twice, none too many; one that is killed is reported, and none outlives the sweep."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import signal
import sqlite3
import threading
from pathlib import Path

import pytest
from swept import (
    arguments,
    base_config,
    folded_cache,
    journal_lines,
    num_complete,
    number_of,
    rates_space,
    space_file,
    start,
    swept,
    trials_of,
    wait_for,
)

from est.sweep.found.record import Sweep
from est.sweep.search.control import control_space
from est.sweep.search.settings import SweepConfig
from est.sweep.search.storage import LOCK, KernelLock, open_storage
from est.sweep.search.study import Study, searching
from est.sweep.search.workers import Job, work
from est.train.config.configfile import to_flat

ZOMBIE = "Z"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return folded_cache(tmp_path_factory.mktemp("shared") / "cache.zarr")


def study_in(folder, worker, trials=10, space=None, **settings):
    """Open a study of its own."""
    how = {"shared": False, **settings}
    return Study.open(
        open_storage(folder),
        "sweep",
        "fold0",
        config=SweepConfig(trials=trials, inner=2),
        facts={},
        fold="fold0",
        control=True,
        space=space or control_space(),
        worker=worker,
        **how,
    )


def state_of(pid):
    """Return the state of a process as Linux tells it, none when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def children_of(pid):
    """Return the processes that a process has started, which are workers of a sweep."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(words[1]) == pid and b"spawn_main" in command and b"--multiprocessing-fork" in command:
            found.append(int(path.parent.name))
    return found


def found_in(out):
    return Sweep.from_json(json.loads((out / "sweep.json").read_text()))


def test_a_lock_keeps_others_out(tmp_path):
    seen = []
    with KernelLock(tmp_path / LOCK).held():
        other = threading.Thread(target=lambda: [KernelLock(tmp_path / LOCK).held().__enter__(), seen.append("other")])
        other.start()
        other.join(0.2)
        assert seen == []
    other.join()
    assert seen == ["other"]


def test_a_trial_of_a_living_process_is_left_to_it(tmp_path):
    with searching() as one, searching() as two:
        first, second = study_in(tmp_path, one), study_in(tmp_path, two)
        first.ask()
        assert second.recover() == 0
        assert (second.running, second.left) == (1, 9)


def test_a_trial_of_a_search_that_has_ended_is_tried_again(tmp_path):
    with searching() as one:
        first = study_in(tmp_path, one)
        asked, values = first.ask()
    with searching() as two:
        second = study_in(tmp_path, two)
        assert second.recover() == 1
        assert second.recover() == 0
        assert second.left == 10
        again, same = second.ask()
        assert same == values
        assert again.number == 1
        # the search was only thought to be dead: what it says now changes nothing
        assert first.report(asked, 1, 0.9) is True
        first.tell(asked, "complete", 0.9, loss=0.1)
        second.tell(again, "complete", 0.5, loss=0.2)
        assert [(record.number, record.value) for record in second.records()] == [(1, 0.5)]


@pytest.mark.parametrize("gone", ["another machine", "killed before it gave its name"])
def test_a_trial_without_a_sign_of_life(tmp_path, monkeypatch, gone):
    with searching() as one:
        worker = "elsewhere|7|7|0" if gone == "another machine" else one
        study = study_in(tmp_path, worker, shared=True)
        if gone == "another machine":
            study.ask()
        else:
            study.study.ask()
        assert study.recover() == 0
        monkeypatch.setattr("est.sweep.search.study.time.time", lambda: 4e9)
        assert study.recover() == 1


def test_a_trial_without_a_name_is_nobodys_where_all_share_the_lock(tmp_path):
    with searching() as one:
        study = study_in(tmp_path, one, shared=False)
        study.study.ask()
        assert study.recover() == 1
        assert study.left == 10


def test_a_trial_whose_settings_are_half_drawn_can_be_shown(tmp_path):
    with searching() as one:
        study = study_in(tmp_path, one)
        half = study.study.ask()
        half.suggest_float("control.l2", 1e-4, 100.0, log=True)
        (record,) = study.records()
        assert (record.state, dict(record.values)) == ("running", {})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["journal", "sqlite"])
def test_two_calls_share_the_trials(cache, tmp_path, kind):
    out, space = tmp_path / "sweep", space_file(tmp_path / "space.toml", epochs=12)
    more = {"storage": f"sqlite:///{tmp_path}/studies.db"} if kind == "sqlite" else {}
    words = arguments(cache, out, space, trials=5, stack="off", **more)
    processes = [start(*words, "--json"), start(*words, "--json")]
    ended = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], [err for _, err in ended]
    found = found_in(out)
    for study in found.studies:
        assert number_of(study) == len(study.records) == 5
        drawn = [json.dumps(record.values) for record in study.records]
        assert len(set(drawn)) == 5  # no trial twice, the first of all neither
    results = [json.loads(said.splitlines()[-1]) for said, _ in ended]
    assert [[s["records"] for s in r["studies"]] for r in results[:1]] == [
        [s["records"] for s in r["studies"]] for r in results[1:]
    ]
    if kind == "journal":
        workers = {line["user_attr"]["worker"] for line in journal_lines(out) if "worker" in line.get("user_attr", {})}
    else:
        with sqlite3.connect(tmp_path / "studies.db") as database:
            workers = {
                row[0] for row in database.execute("SELECT value_json FROM trial_user_attributes WHERE key = 'worker'")
            }
        database.close()
    assert len(workers) == 2, "one of them did all the work"
    kept = list((out / "kept").rglob("*.safetensors"))
    best = {(study.fold, study.best.number) for study in found.studies_of(control=False)}
    assert {(path.parent.name, int(path.name[:4])) for path in kept} == best


@pytest.mark.slow
def test_two_workers_of_one_sweep(cache, tmp_path):
    base = base_config(stack="off", epochs=150)
    found = swept(cache, tmp_path / "sweep", base=base, trials=5, workers=2)
    for study in found.studies:
        assert number_of(study) == len(study.records) == 5
    workers = {trial.user_attrs["worker"] for trials in trials_of(tmp_path / "sweep").values() for trial in trials}
    assert len(workers) == 2
    assert (tmp_path / "sweep" / "workers" / "1.log").read_text() == ""


@pytest.mark.slow
def test_a_worker_that_is_killed_is_told_of(cache, tmp_path):
    out, space = tmp_path / "sweep", space_file(tmp_path / "space.toml", epochs=40)
    process = start(*arguments(cache, out, space, trials=4, stack="off", workers=2))

    def worker_in_a_trial():
        (worker,) = wait_for(lambda: children_of(process.pid))
        lines = [
            line for line in journal_lines(out) if f"|{worker}|" in str(line.get("user_attr", {}).get("worker", ""))
        ]
        return worker if lines else 0

    worker = wait_for(worker_in_a_trial)
    os.kill(worker, signal.SIGKILL)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    assert re.search(
        r"A process of the sweep ended with status -9; the others continue. Its messages: .*workers/1.log", errors
    )
    for study in found_in(out).studies:
        assert number_of(study) == len(study.records) == 4
    interrupted = [t for trials in trials_of(out).values() for t in trials if t.user_attrs.get("interrupted")]
    assert [trial.user_attrs["worker"].split("|")[1] for trial in interrupted] == [str(worker)]


@pytest.mark.slow
def test_workers_end_with_the_process_that_started_them(cache, tmp_path):
    out, space = tmp_path / "sweep", space_file(tmp_path / "space.toml", epochs=500)
    process = start(*arguments(cache, out, space, trials=40, workers=2, stack="off"))
    workers = wait_for(lambda: len(children_of(process.pid)) == 1 and children_of(process.pid))
    wait_for(lambda: num_complete(out) >= 1)
    process.kill()
    process.communicate()
    wait_for(lambda: all(state_of(worker) in ("", ZOMBIE) for worker in workers), seconds=15)


@pytest.mark.slow
def test_ctrl_c_ends_the_workers_too(cache, tmp_path):
    out, space = tmp_path / "sweep", space_file(tmp_path / "space.toml", epochs=500)
    process = start(*arguments(cache, out, space, trials=40, workers=2, stack="off"), start_new_session=True)
    wait_for(lambda: len(children_of(process.pid)) == 1)
    workers = children_of(process.pid)
    wait_for((out / "workers" / "1.log").exists)
    wait_for(lambda: num_complete(out) >= 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "resumes" in errors
    assert "Traceback" not in errors
    assert all(state_of(worker) in ("", ZOMBIE) for worker in workers)
    assert "Traceback" not in (out / "workers" / "1.log").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changed", "status", "expected"),
    [({"space": {}}, 1, "KeyError: 'settings'"), ({"cache": Path("gone.zarr")}, 2, "Error: ")],
)
def test_what_ends_a_worker_is_in_its_log(cache, tmp_path, changed, status, expected):
    job = {
        "cache": cache,
        "out": tmp_path / "sweep",
        "base": to_flat(base_config()),
        "space": rates_space().to_json(),
        "config": SweepConfig(trials=1, inner=2),
        "storage": "",
        "log": tmp_path / "1.log",
        "parent": os.getpid(),
    }
    process = multiprocessing.get_context("spawn").Process(target=work, args=(Job(**{**job, **changed}),))
    process.start()
    process.join()
    assert process.exitcode == status
    assert expected in (tmp_path / "1.log").read_text()
